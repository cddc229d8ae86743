package reach

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// ackNow makes the kernel acknowledge what was read at once. The option does
// not last, so it is set after every small read. It is a hint: when it does
// not work, things are only slower.
func ackNow(c syscall.RawConn) {
	_ = c.Control(func(fd uintptr) {
		_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_QUICKACK, 1)
	})
}
