package outpost

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
)

// buffers are what one direction of a connection copies through.
var buffers = sync.Pool{New: func() any { return new([32 << 10]byte) }}

// Join copies between a and b both ways until both have ended, and closes
// them. The end of one direction is passed on as such; a connection that
// breaks, or ctx's end, ends both.
func Join(ctx context.Context, a, b net.Conn) {
	both := sync.OnceFunc(func() {
		a.Close()
		b.Close()
	})
	defer both()
	stop := context.AfterFunc(ctx, both)
	defer stop()
	var wg sync.WaitGroup
	for _, way := range [][2]net.Conn{{a, b}, {b, a}} {
		wg.Go(func() {
			if !pump(way[1], way[0]) {
				both()
			}
		})
	}
	wg.Wait()
}

// pump copies from src to dst and passes on the end. It tells whether the
// other direction may go on.
func pump(dst, src net.Conn) bool {
	buf := buffers.Get().(*[32 << 10]byte)
	defer buffers.Put(buf)
	for {
		n, err := src.Read(buf[:])
		if n > 0 {
			if _, err := dst.Write(buf[:n]); err != nil {
				return false
			}
		}
		if errors.Is(err, io.EOF) {
			half, ok := dst.(interface{ CloseWrite() error })
			return ok && half.CloseWrite() == nil
		}
		if err != nil {
			return false
		}
	}
}
