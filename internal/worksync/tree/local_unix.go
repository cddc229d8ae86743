//go:build unix

package tree

import (
	"errors"
	"io/fs"
	"os"
	"syscall"
)

// exhausted tells whether something ran out that the next path needs as well.
func exhausted(err error) bool {
	for _, e := range []error{syscall.ENOSPC, syscall.EDQUOT, syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// maybeClosed tells whether a file's mode bits may keep us out. Only opening it
// tells for sure: there are groups and access control lists.
func maybeClosed(fi fs.FileInfo) bool {
	st, ok := fi.Sys().(*syscall.Stat_t)
	uid := os.Geteuid()
	switch {
	case !ok || uid == 0:
		return false
	case int(st.Uid) == uid:
		return fi.Mode()&0o400 == 0
	}
	return fi.Mode()&0o004 == 0
}
