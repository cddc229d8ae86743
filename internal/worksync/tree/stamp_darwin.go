package tree

import (
	"io/fs"
	"syscall"
)

// changed returns the time of the inode's last change and its number.
func changed(fi fs.FileInfo) (ctime int64, inode uint64) {
	st, ok := fi.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, 0
	}
	return st.Ctimespec.Nano(), st.Ino
}
