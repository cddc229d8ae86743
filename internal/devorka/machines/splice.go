package machines

import (
	"context"
	"io"
	"net"
	"sync"
)

// Splice joins two connections until both directions are over, or ctx is.
func Splice(ctx context.Context, a, b net.Conn) {
	stop := context.AfterFunc(ctx, func() { a.Close(); b.Close() })
	defer stop()
	var up sync.WaitGroup
	up.Go(func() { pour(b, a) })
	pour(a, b)
	up.Wait()
	a.Close()
	b.Close()
}

// pour copies one direction and passes its end on.
func pour(to, from net.Conn) {
	_, _ = io.Copy(to, from) // until either side has had enough
	if w, ok := to.(interface{ CloseWrite() error }); ok {
		_ = w.CloseWrite()
		return
	}
	to.Close()
}
