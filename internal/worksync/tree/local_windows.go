package tree

import (
	"errors"
	"io/fs"
	"syscall"
)

// Errors of a full disk on Windows.
const (
	errorDiskFull       = syscall.Errno(112)
	errorHandleDiskFull = syscall.Errno(39)
)

// exhausted tells whether something ran out that the next path needs as well.
func exhausted(err error) bool {
	return errors.Is(err, errorDiskFull) || errors.Is(err, errorHandleDiskFull)
}

// maybeClosed does not know: the mode bits that there are say nothing about reading.
func maybeClosed(fs.FileInfo) bool { return false }
