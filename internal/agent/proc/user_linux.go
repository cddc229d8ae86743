package proc

import (
	"bytes"
	"os"
	"slices"
	"strconv"
	"strings"
)

// programOf tells whether a process is this user's, and its program as far as it lets that be seen. It is who may
// become the user at any time too. Whose /proc/PID is does not count: root's, if the process hides.
func programOf(pid int) (path string, ok bool) {
	dir := "/proc/" + strconv.Itoa(pid)
	b, err := os.ReadFile(dir + "/status")
	if err != nil {
		return "", false
	}
	_, ids, _ := bytes.Cut(b, []byte("\nUid:"))
	ids, _, _ = bytes.Cut(ids, []byte("\n"))
	if !slices.Contains(strings.Fields(string(ids)), strconv.Itoa(os.Geteuid())) {
		return "", false
	}
	path, err = os.Readlink(dir + "/exe")
	if err != nil {
		path = "" // it is the user's all the same
	}
	return path, true
}

// manager tells whether the process is what logind has started for the user, which starts others: systemd --user. A user
// can execute that program too, but not put it into that control group from anywhere but below it.
func manager(pid int, path string) bool {
	if path != "/usr/lib/systemd/systemd" && path != "/lib/systemd/systemd" {
		return false
	}
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/cgroup")
	return err == nil && strings.Contains(string(b), "/user@"+strconv.Itoa(os.Geteuid())+".service/")
}

// systems tells whether the program is one that only the system starts.
func systems(string) bool { return false }
