package orka

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"outrigger.dev/outrigger/internal/provider/orka/orkaapi"
)

// A sighting is the latest that Orka said of a VM.
type sighting struct {
	vm    orkaapi.VM
	there bool
	err   error     // Orka does not answer
	since time.Time // err has been there since
	at    time.Time
}

// A follower watches one VM: through Kubernetes' door by a watch, through REST by
// asking again and again.
type follower struct {
	cancel context.CancelFunc
	done   chan struct{}
	news   chan struct{} // something has changed

	mu   sync.Mutex
	last sighting
	seen bool // it was there at least once
}

// Between two looks through the REST door: quick at first, since an image that a node has
// runs within five seconds.
const (
	firstLook = 300 * time.Millisecond
	lastLook  = 3 * time.Second
	lookGrows = 1.2
)

// follow begins to watch the VM called name. The caller stops it.
func follow(ctx context.Context, d door, name string) *follower {
	ctx, cancel := context.WithCancel(ctx)
	f := &follower{cancel: cancel, done: make(chan struct{}), news: make(chan struct{}, 1)}
	go func() {
		defer close(f.done)
		f.run(ctx, d, name)
	}()
	return f
}

// stop ends the watching and waits for its end.
func (f *follower) stop() {
	f.cancel()
	<-f.done
}

// latest returns the last sighting, and whether the VM was ever there.
func (f *follower) latest() (s sighting, seen bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.last, f.seen
}

func (f *follower) report(vm orkaapi.VM, there bool, err error) {
	f.mu.Lock()
	s := sighting{vm: vm, there: there, err: err, at: time.Now()}
	if err != nil { // what was known stays known
		s.vm, s.there, s.since = f.last.vm, f.last.there, f.last.since
		if f.last.err == nil {
			s.since = s.at
		}
	}
	f.last = s
	f.seen = f.seen || there
	f.mu.Unlock()
	select {
	case f.news <- struct{}{}:
	default:
	}
}

func (f *follower) run(ctx context.Context, d door, name string) {
	pause := firstLook
	for ctx.Err() == nil {
		vm, err := d.Get(ctx, name)
		if ctx.Err() != nil {
			return
		}
		there := err == nil
		if orkaapi.IsNotFound(err) {
			err = nil
		}
		f.report(vm, there, err)
		if k, ok := d.(*orkaapi.Kube); ok && there {
			// A watch ends at any time; then we look again.
			if err := k.Watch(ctx, name, vm.Version, func(vm orkaapi.VM, gone bool) { f.report(vm, !gone, nil) }); err == nil {
				pause = firstLook
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause/2 + rand.N(pause/2)):
		}
		pause = min(time.Duration(float64(pause)*lookGrows), lastLook)
	}
}

// errVanished is of VMs that were there and are not any more.
var errVanished = errors.New("the VM is gone")
