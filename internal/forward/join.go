package forward

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
)

// buffers are what one direction of a connection copies through.
var buffers = sync.Pool{New: func() any { return new([32 << 10]byte) }}

// join copies between a and b both ways until both have ended, and closes
// them. The end of one direction is passed on as such, so a server that reads
// to the end before it answers works. A connection that breaks, or ctx's end,
// resets both.
func join(ctx context.Context, a, b net.Conn) {
	both := sync.OnceFunc(func() {
		abort(a)
		abort(b)
	})
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
	a.Close()
	b.Close()
}

// pump copies from src to dst and passes on the end. It tells whether src came
// to an end, rather than break. That dst takes no more is no reason to give up:
// what it still has to say comes the other way, where its end is seen too.
func pump(dst, src net.Conn) bool {
	buf := buffers.Get().(*[32 << 10]byte)
	defer buffers.Put(buf)
	for {
		n, err := src.Read(buf[:])
		if n > 0 {
			if _, err := dst.Write(buf[:n]); err != nil {
				return true
			}
		}
		if errors.Is(err, io.EOF) {
			if half, ok := dst.(interface{ CloseWrite() error }); ok {
				_ = half.CloseWrite() // it fails if dst is closed, which the other way sees
			}
			return true
		}
		if err != nil {
			return false
		}
	}
}

// abort closes a connection so that the other side sees a reset, not an end,
// where the transport can say so.
func abort(c net.Conn) {
	if l, ok := c.(interface{ SetLinger(sec int) error }); ok {
		_ = l.SetLinger(0) // it fails if c is closed already
	}
	c.Close()
}

// A peeked connection begins with what was read from it already.
type peeked struct {
	net.Conn
	r io.Reader
}

// Read implements [net.Conn].
func (p *peeked) Read(b []byte) (int, error) { return p.r.Read(b) }

// CloseWrite ends this direction alone.
func (p *peeked) CloseWrite() error {
	if half, ok := p.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return errors.New("the connection has no halves")
}
