package apply

import (
	"context"
	"sync"
)

// turns lets things that are done at the same time be seen one after the other. When its
// context ends nobody waits any more.
type turns struct {
	mu    sync.Mutex
	moved *sync.Cond
	drawn int64
	next  int64          // whose turn it is
	early map[int64]bool // those that are over before it was their turn
	ended error          // why nobody waits any more
}

func newTurns(ctx context.Context) *turns {
	t := &turns{early: map[int64]bool{}}
	t.moved = sync.NewCond(&t.mu)
	context.AfterFunc(ctx, func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.ended = ctx.Err()
		t.moved.Broadcast()
	})
	return t
}

// draw returns a turn. Each must be done.
func (t *turns) draw() int64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.drawn++
	return t.drawn - 1
}

// await waits for a turn, which will not come any more if it returns an error.
func (t *turns) await(turn int64) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	for t.next != turn && t.ended == nil {
		t.moved.Wait()
	}
	if t.next == turn {
		return nil
	}
	return t.ended
}

func (t *turns) done(turn int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.early[turn] = true
	for t.early[t.next] {
		delete(t.early, t.next)
		t.next++
	}
	t.moved.Broadcast()
}

// settle waits until all turns that were drawn are done.
func (t *turns) settle() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for t.next != t.drawn && t.ended == nil {
		t.moved.Wait()
	}
}
