//go:build unix

package look

import (
	"syscall"

	"outrigger.dev/outrigger/internal/doctor"
)

func ofErrno(errno syscall.Errno) doctor.Reason {
	switch errno {
	case syscall.ECONNREFUSED:
		return doctor.Refused
	case syscall.EHOSTUNREACH, syscall.ENETUNREACH, syscall.EADDRNOTAVAIL:
		return doctor.NoRoute
	case syscall.ETIMEDOUT:
		return doctor.Silent
	case syscall.ECONNRESET, syscall.ECONNABORTED, syscall.EPIPE:
		return doctor.Closed
	}
	return doctor.Other
}
