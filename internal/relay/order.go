package relay

import (
	"context"
	"math"
	"slices"
	"strings"
	"sync"
)

// An order lets several folders come back in the order in which the machine changed what is in
// them: no change of one is here before an earlier one of another, so that what a file in one
// says of files in another is true.
type order struct {
	mu    sync.Mutex
	moved *sync.Cond
	at    map[*folder]int64 // of those under way: the time up to which all is here
}

// newOrder gives the folders one order.
func newOrder(folders []*folder) {
	o := &order{at: map[*folder]int64{}}
	o.moved = sync.NewCond(&o.mu)
	for _, f := range folders {
		if f.order = o; f.isOrdered() {
			o.at[f] = math.MinInt64
		}
	}
}

// turn waits until no other folder has a change to come that was made before when. It is
// for folders that come back beside others.
func (f *folder) turn(ctx context.Context, when int64) error {
	o := f.order
	wake := context.AfterFunc(ctx, func() {
		o.mu.Lock()
		defer o.mu.Unlock()
		o.moved.Broadcast()
	})
	defer wake()
	o.mu.Lock()
	defer o.mu.Unlock()
	o.at[f] = when
	o.moved.Broadcast()
	for o.behind(when) && ctx.Err() == nil {
		o.moved.Wait()
	}
	return ctx.Err()
}

func (o *order) behind(when int64) bool {
	for _, at := range o.at {
		if at < when {
			return true
		}
	}
	return false
}

// isOrdered tells whether a folder comes back in one order with others.
func (f *folder) isOrdered() bool {
	n := 0
	for _, other := range f.folders {
		if !other.Up && !other.Alone {
			n++
		}
	}
	return n > 1 && !f.Up && !f.Alone
}

// leave is for a folder of which nothing more comes.
func (o *order) leave(f *folder) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.at, f)
	o.moved.Broadcast()
}

// holdAll holds all folders. Whoever holds several takes them in the order of their names, so that no two wait for each other.
func holdAll(ctx context.Context, folders []*folder) (release func(), err error) {
	var releases []func()
	release = func() {
		for _, f := range folders {
			f.held = false
		}
		for _, r := range releases {
			r()
		}
	}
	sorted := slices.SortedFunc(slices.Values(folders), func(a, b *folder) int { return strings.Compare(a.Folder, b.Folder) })
	for _, f := range sorted {
		if f.Hold == nil {
			continue
		}
		r, err := f.Hold(ctx)
		if err != nil {
			release()
			return nil, err
		}
		f.held = true
		releases = append(releases, r)
	}
	return release, nil
}
