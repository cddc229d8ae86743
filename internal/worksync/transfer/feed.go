package transfer

import (
	"context"
	"sync"

	"outrigger.dev/outrigger/internal/worksync/tree"
)

// feed is a scan that somebody reads while it goes on. The scan never waits
// for its reader: its end is what tells how much there is to do.
type feed struct {
	more chan struct{} // holds a token when there is news

	mu           sync.Mutex
	nodes        []tree.Node
	files, bytes int64
	over         bool
	err          error
}

func newFeed() *feed { return &feed{more: make(chan struct{}, 1)} }

// ring is how many nodes come between two pieces of news.
const ring = 256

func (f *feed) put(n tree.Node) error {
	f.mu.Lock()
	f.nodes = append(f.nodes, n)
	if n.Kind == tree.File {
		f.files++
		f.bytes += n.Size
	}
	news := len(f.nodes)%ring == 0
	f.mu.Unlock()
	if news {
		f.wake()
	}
	return nil
}

// end says that nothing more comes.
func (f *feed) end(err error) {
	f.mu.Lock()
	f.over, f.err = true, err
	f.mu.Unlock()
	f.wake()
}

func (f *feed) wake() {
	select {
	case f.more <- struct{}{}:
	default:
	}
}

// from returns the nodes from place i on, waiting until there are some; none
// means that the scan is over. It is for one goroutine.
func (f *feed) from(ctx context.Context, i int) ([]tree.Node, error) {
	for {
		f.mu.Lock()
		nodes, over, err := f.nodes[i:], f.over, f.err
		f.mu.Unlock()
		switch {
		case len(nodes) > 0:
			return nodes, nil
		case over:
			return nil, err
		}
		select {
		case <-f.more:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// all waits for the end and returns everything.
func (f *feed) all(ctx context.Context) ([]tree.Node, error) {
	for i := 0; ; {
		nodes, err := f.from(ctx, i)
		if err != nil {
			return nil, err
		}
		if i += len(nodes); len(nodes) == 0 {
			return f.nodes, nil
		}
	}
}

// total tells how much the whole scan found; nothing while it goes on.
func (f *feed) total() (files, bytes int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.over {
		return 0, 0
	}
	return f.files, f.bytes
}
