package faultproxy

import (
	"context"
	"sync"
)

// A gate is open until it is shut, and opens again when everyone who shut it says so.
type gate struct {
	mu    sync.Mutex
	shuts int
	open  chan struct{} // closed when the gate opens; nil while it is open
}

func (g *gate) shut() (reopen func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.shuts == 0 {
		g.open = make(chan struct{})
	}
	g.shuts++
	return sync.OnceFunc(func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		if g.shuts--; g.shuts == 0 {
			close(g.open)
			g.open = nil
		}
	})
}

// pass waits while the gate is shut and tells whether ctx lived that long.
func (g *gate) pass(ctx context.Context) bool {
	for {
		g.mu.Lock()
		open := g.open
		g.mu.Unlock()
		if open == nil {
			return ctx.Err() == nil
		}
		select {
		case <-open:
		case <-ctx.Done():
			return false
		}
	}
}
