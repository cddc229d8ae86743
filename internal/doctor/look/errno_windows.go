package look

import (
	"syscall"

	"golang.org/x/sys/windows"

	"outrigger.dev/outrigger/internal/doctor"
)

// ofErrno: what Windows says of sockets are numbers of their own.
func ofErrno(errno syscall.Errno) doctor.Reason {
	switch errno {
	case windows.WSAECONNREFUSED:
		return doctor.Refused
	case windows.WSAEHOSTUNREACH, windows.WSAENETUNREACH, windows.WSAEADDRNOTAVAIL:
		return doctor.NoRoute
	case windows.WSAETIMEDOUT:
		return doctor.Silent
	case windows.WSAECONNRESET, windows.WSAECONNABORTED:
		return doctor.Closed
	}
	return doctor.Other
}
