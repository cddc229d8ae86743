package faultproxy

import (
	"context"
	"sync"
	"time"
)

// A Link is what the way is like, the same in both directions.
type Link struct {
	Delay       time.Duration // one way
	BytesPerSec int64         // shared by all connections, each direction for itself; 0: no limit
	// Window is how many bytes may be on the way per connection and direction,
	// as a TCP window and the buffers of routers allow; 0 means 8 MiB, which
	// fills 1.6 Gbit/s at a round trip of 40 ms.
	Window int
}

const defaultWindow = 8 << 20

// window returns the link's window or its default.
func (l Link) window() int {
	if l.Window > 0 {
		return l.Window
	}
	return defaultWindow
}

// chunk returns how much is read at once: on a narrow line so little that
// connections take turns, about 5 ms worth, and never more than 64 KiB.
func (l Link) chunk() int {
	const most, least = 64 << 10, 1 << 10
	if l.BytesPerSec == 0 {
		return most
	}
	return int(min(most, max(least, l.BytesPerSec/200)))
}

// A line is one direction of a link: bytes leave it one after the other.
type line struct {
	link Link
	mu   sync.Mutex
	free time.Time // when the last byte taken will have left
}

func newLine(l Link) *line { return &line{link: l} }

// take reserves the line for n bytes and returns when the last of them has left it.
func (l *line) take(n int) time.Time {
	now := time.Now()
	if l.link.BytesPerSec == 0 {
		return now
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.free.Before(now) {
		l.free = now
	}
	l.free = l.free.Add(time.Duration(float64(n) / float64(l.link.BytesPerSec) * float64(time.Second)))
	return l.free
}

// A parcel is bytes on their way and when they arrive.
type parcel struct {
	data []byte
	due  time.Time
}

// A flight holds what is on its way in one direction of one connection: bounded
// by the link's window, so that back-pressure reaches the sender.
type flight struct {
	mu      sync.Mutex
	changed chan struct{} // closed and replaced at each change
	window  int
	bytes   int
	parcels []parcel
	ended   bool
}

func newFlight(window int) *flight {
	return &flight{window: window, changed: make(chan struct{})}
}

// announce wakes who waits; mu is held.
func (f *flight) announce() {
	close(f.changed)
	f.changed = make(chan struct{})
}

// room waits until n bytes fit into the window, or nothing is on its way; false
// if ctx ended first. There is one sender, so the room stays until it puts.
func (f *flight) room(ctx context.Context, n int) bool {
	for {
		f.mu.Lock()
		free, changed := f.bytes == 0 || f.bytes+n <= f.window, f.changed
		f.mu.Unlock()
		if free {
			return true
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return false
		}
	}
}

// put sends a parcel on its way.
func (f *flight) put(p parcel) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.bytes += len(p.data)
	f.parcels = append(f.parcels, p)
	f.announce()
}

// end says that no parcel follows.
func (f *flight) end() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ended = true
	f.announce()
}

// get returns the next parcel once it is due; false at the end, or if ctx ended.
func (f *flight) get(ctx context.Context) (parcel, bool) {
	for {
		f.mu.Lock()
		if len(f.parcels) > 0 {
			p := f.parcels[0]
			f.parcels = f.parcels[1:]
			f.mu.Unlock()
			return p, wait(ctx, time.Until(p.due))
		}
		ended, changed := f.ended, f.changed
		f.mu.Unlock()
		if ended {
			return parcel{}, false
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return parcel{}, false
		}
	}
}

// landed gives the room of a parcel back.
func (f *flight) landed(n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.bytes -= n
	f.announce()
}
