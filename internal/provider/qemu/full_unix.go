//go:build unix

package qemu

import (
	"errors"
	"syscall"
)

// full tells whether err says that a disk is full.
func full(err error) bool { return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) }
