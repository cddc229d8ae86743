//go:build unix

package qemu

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// tryLock locks an open file for its open file description: the lock is passed
// on to a child that inherits the file, and ends when the last copy is closed.
// It answers false when somebody else holds it.
func tryLock(f *os.File, how lockKind) (bool, error) {
	flag := unix.LOCK_SH
	if how == exclusive {
		flag = unix.LOCK_EX
	}
	for {
		err := unix.Flock(int(f.Fd()), flag|unix.LOCK_NB)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if errors.Is(err, unix.EWOULDBLOCK) {
			return false, nil
		}
		return err == nil, err
	}
}
