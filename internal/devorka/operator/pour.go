package operator

import (
	"io"
	"net"
)

// pour copies one direction and passes its end on.
func pour(to, from net.Conn) {
	_, _ = io.Copy(to, from) // until either side has had enough
	if w, ok := to.(interface{ CloseWrite() error }); ok {
		_ = w.CloseWrite()
		return
	}
	to.Close()
}
