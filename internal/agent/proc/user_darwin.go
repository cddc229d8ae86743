package proc

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// programOf returns the program of a process of this user. Arguments begin with how many there are, four bytes,
// and the program's path.
func programOf(pid int) (path string, ok bool) {
	procs, err := unix.SysctlKinfoProcSlice("kern.proc.pid", pid)
	if err != nil || len(procs) != 1 || int(procs[0].Eproc.Ucred.Uid) != os.Geteuid() {
		return "", false
	}
	b, err := unix.SysctlRaw("kern.procargs2", pid)
	if err != nil || len(b) < 5 {
		return "", false
	}
	name, _, _ := bytes.Cut(b[4:], []byte{0})
	return string(name), len(name) > 0
}

// manager is false: launchd is process 1.
func manager(int, string) bool { return false }

// systems tells whether launchd starts the program for each user who is logged in. Among the system's are some that do
// whatever they are told: interpreters, and SSH's server, of which a user can start one of his own.
func systems(path string) bool {
	name := strings.ToLower(filepath.Base(path))
	for _, other := range []string{"sshd", "ruby", "python", "perl", "tclsh", "wish", "jsc", "osascript"} {
		if strings.HasPrefix(name, other) {
			return false
		}
	}
	for _, dir := range []string{"/System/", "/usr/libexec/", "/usr/sbin/", "/Library/Apple/"} {
		if strings.HasPrefix(path, dir) {
			return true
		}
	}
	return false
}
