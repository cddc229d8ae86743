package proc

import (
	"os"
	"path/filepath"
	"strconv"
	"syscall"
)

// programOf returns the program of a process of this user.
func programOf(pid int) (path string, ok bool) {
	dir := "/proc/" + strconv.Itoa(pid)
	info, err := os.Stat(dir)
	if err != nil {
		return "", false
	}
	if st, is := info.Sys().(*syscall.Stat_t); !is || int(st.Uid) != os.Geteuid() {
		return "", false
	}
	path, err = os.Readlink(dir + "/exe")
	return path, err == nil
}

// manager tells whether the program starts others for a user.
func manager(path string) bool { return filepath.Base(path) == "systemd" }

// systems tells whether the program is one that only the system starts.
func systems(string) bool { return false }
