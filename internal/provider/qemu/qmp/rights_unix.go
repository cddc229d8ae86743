//go:build unix

package qmp

import (
	"os"
	"syscall"
)

// rights is the control message that hands file to the other process.
func rights(file *os.File) ([]byte, error) { return syscall.UnixRights(int(file.Fd())), nil }
