package operator

import (
	"context"
	"errors"
	"net"
	"sync"
)

// A gate is a port of a node that leads to a VM. While it is closed connections
// are refused, as they are while nothing listens in the VM.
type gate struct {
	addr string

	mu     sync.Mutex
	to     func(ctx context.Context, c net.Conn)
	ln     net.Listener
	conns  map[net.Conn]bool
	cancel context.CancelFunc
	wg     sync.WaitGroup
}

func newGate(addr string, to func(ctx context.Context, c net.Conn)) *gate {
	return &gate{addr: addr, to: to, conns: map[net.Conn]bool{}}
}

// open listens. An open gate stays as it is.
func (g *gate) open() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.ln != nil {
		return nil
	}
	ln, err := net.Listen("tcp", g.addr)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background()) // close ends it
	g.ln, g.cancel = ln, cancel
	g.wg.Go(func() { g.accept(ctx, ln) })
	return nil
}

func (g *gate) accept(ctx context.Context, ln net.Listener) {
	for {
		c, err := ln.Accept()
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return
			}
			continue // this one connection broke, or files ran out for a moment
		}
		g.mu.Lock()
		if g.ln != ln {
			g.mu.Unlock()
			c.Close()
			return
		}
		g.conns[c] = true
		to := g.to
		g.wg.Go(func() {
			to(ctx, c)
			c.Close()
			g.mu.Lock()
			defer g.mu.Unlock()
			delete(g.conns, c)
		})
		g.mu.Unlock()
	}
}

// close ends every connection and waits for it.
func (g *gate) close() {
	g.mu.Lock()
	if g.ln != nil {
		g.ln.Close()
		g.cancel()
		g.ln = nil
	}
	for c := range g.conns {
		c.Close()
	}
	g.mu.Unlock()
	g.wg.Wait()
}

// lead makes connections from now on go elsewhere.
func (g *gate) lead(to func(ctx context.Context, c net.Conn)) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.to = to
}

// swap exchanges where two gates lead.
func swap(a, b *gate) {
	a.mu.Lock()
	x := a.to
	a.mu.Unlock()
	b.mu.Lock()
	y := b.to
	b.to = x
	b.mu.Unlock()
	a.mu.Lock()
	a.to = y
	a.mu.Unlock()
}
