package app

import (
	"context"
	"sync"
	"time"

	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/machine"
	"outrigger.dev/outrigger/internal/provider"
)

// lookEvery is how often the provider is asked whether a machine that does not
// answer still lives: soon enough for who waits, seldom enough for a provider far away.
const lookEvery = 2 * time.Second

// DeathWatch returns a context that ends, with a fault of kind MachineLost as its
// cause, when the provider says that the machine is dead. It asks only between
// lost(true) and lost(false), since a machine that answers is alive; the
// caller ends with lost(false).
func (a *App) DeathWatch(ctx context.Context, p provider.Provider, name machine.Name) (_ context.Context, lost func(bool)) {
	ctx, cancel := context.WithCancelCause(ctx)
	var mu sync.Mutex
	stop := func() {}
	return ctx, func(on bool) {
		mu.Lock()
		defer mu.Unlock()
		stop()
		stop = func() {}
		if !on {
			return
		}
		watch, end := context.WithCancel(ctx)
		done := make(chan struct{})
		go func() {
			defer close(done)
			watchDeath(watch, p, name, cancel)
		}()
		stop = func() {
			end()
			<-done
		}
	}
}

func watchDeath(ctx context.Context, p provider.Provider, name machine.Name, dead context.CancelCauseFunc) {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		m, err := p.Get(ctx, name)
		switch {
		case fault.Is(err, fault.UnknownMachine):
			dead(fault.New(fault.MachineLost, "machine %s: is gone from its provider", name))
			return
		case err == nil && (m.State == machine.Failed || m.State == machine.Stopped):
			dead(fault.New(fault.MachineLost, "machine %s: died: its provider says %s", name, m.State))
			return
		}
	}
}
