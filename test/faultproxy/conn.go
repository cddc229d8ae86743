package faultproxy

import (
	"context"
	"net"
	"sync"
	"time"
)

// A conn is one connection through the proxy: near is who dialled, far the target.
type conn struct {
	proxy     *Proxy
	number    int
	near, far net.Conn

	mu     sync.Mutex
	cancel context.CancelFunc // nil until run, and set for good then
	ended  bool
	hole   bool
}

// run passes bytes until both directions have ended or the connection was broken.
func (c *conn) run(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	c.mu.Lock()
	c.cancel = cancel
	if c.ended { // broken between being added and being run
		cancel()
	}
	c.mu.Unlock()
	defer c.near.Close()
	defer c.far.Close()
	// Reads and writes that block do not see ctx; closed connections they do.
	stop := context.AfterFunc(ctx, func() { c.near.Close(); c.far.Close() })
	defer stop()

	var both sync.WaitGroup
	both.Go(func() { c.pass(ctx, Up, c.proxy.up, c.far, c.near) })
	both.Go(func() { c.pass(ctx, Down, c.proxy.down, c.near, c.far) })
	both.Wait()
}

// pass moves bytes from src to dst along l: one goroutine reads and lets them
// leave, this one lets them arrive.
func (c *conn) pass(ctx context.Context, dir Direction, l *line, dst, src net.Conn) {
	f := newFlight(l.link.window())
	var reader sync.WaitGroup
	reader.Go(func() {
		defer f.end()
		c.send(ctx, dir, l, f, src)
	})
	defer reader.Wait()
	for {
		p, ok := f.get(ctx)
		if !ok || !c.proxy.gate.pass(ctx) {
			break
		}
		if !c.isHole() {
			if _, err := dst.Write(p.data); err != nil {
				c.do(Cut) // who cannot be written to is gone; the other end must hear of it
				return
			}
		}
		f.landed(len(p.data))
	}
	if ctx.Err() == nil && !c.isHole() {
		if t, ok := dst.(interface{ CloseWrite() error }); ok {
			_ = t.CloseWrite() // it fails where the other end has gone already, which is as good
		}
	}
}

// send reads what comes from src and puts it on its way, with the faults that fate has for it.
func (c *conn) send(ctx context.Context, dir Direction, l *line, f *flight, src net.Conn) {
	fate := c.proxy.dice.fate(c.number, dir)
	var pos int64
	buf := make([]byte, l.link.chunk())
	for {
		n, err := src.Read(buf)
		for rest := buf[:n]; len(rest) > 0; {
			pass, kind := fate.due(pos, len(rest))
			if !f.room(ctx, pass) {
				return
			}
			out := l.take(pass)
			f.put(parcel{append([]byte(nil), rest[:pass]...), out.Add(l.link.Delay)})
			pos += int64(pass)
			rest = rest[pass:]
			// The line is serial: whoever reads far ahead of it would let the sender believe in a wider one.
			if !wait(ctx, time.Until(out)-5*time.Millisecond) {
				return
			}
			if kind == "" {
				continue
			}
			c.proxy.note(Event{Kind: kind, Conn: c.number, Direction: dir, At: pos})
			switch kind {
			case Pause:
				wait(ctx, c.proxy.cfg.Plan.Pause)
			case Vanish:
				c.do(kind)
				fate.spare() // nothing more can happen to it
			default:
				c.do(kind)
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// do breaks the connection.
func (c *conn) do(k Kind) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch k {
	case Vanish:
		c.hole = true
		return
	case Cut:
		setReset(c.near)
		setReset(c.far)
	}
	c.ended = true
	if c.cancel != nil {
		c.cancel()
	}
}

func (c *conn) isHole() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.hole
}

// reset closes a connection so that its other end sees "connection reset".
func reset(c net.Conn) {
	setReset(c)
	c.Close()
}

func setReset(c net.Conn) {
	if t, ok := c.(*net.TCPConn); ok {
		_ = t.SetLinger(0) // on a connection that is closed already there is nothing to reset
	}
}
