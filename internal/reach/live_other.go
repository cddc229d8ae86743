//go:build !linux

package reach

import "syscall"

// ackNow does nothing: only Linux lets a program ask for an acknowledgement.
func ackNow(syscall.RawConn) {}
