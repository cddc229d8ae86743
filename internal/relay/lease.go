package relay

import (
	"context"
	"time"

	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/sanitize"
	"outrigger.dev/outrigger/internal/wire"
)

const (
	// releaseLimit bounds the release of a lease, which goes on after ctx is cancelled.
	releaseLimit = 30 * time.Second
	// renewEvery is how often a lease is renewed at least. A client that is killed has its results kept
	// by so much shorter, see Lease.TTL.
	renewEvery = 5 * time.Minute
	// renewAtMost is the shortest time between two renewals.
	renewAtMost = time.Second
	// renewLimit bounds one renewal: a guess, many times what it takes.
	renewLimit = time.Minute
	// giveLimit bounds giving a slot back, which somebody who pressed Ctrl-C twice waits for.
	giveLimit = 3 * time.Second
)

func (r *relay) renewal() wire.LeaseRenew {
	lease, now := r.job.Lease, r.now()
	return wire.LeaseRenew{Name: lease.Name, Expires: now.Add(lease.TTL), Held: held(now, lease.Hold)}
}

// held is until when a lease takes a slot: the zero time if that is as long as it lives.
func held(now time.Time, hold time.Duration) time.Time {
	if hold <= 0 {
		return time.Time{}
	}
	return now.Add(hold)
}

// askLease asks for the lease: a new one once, then that one.
func (r *relay) askLease(c *wire.Conn) error {
	lease, now := r.job.Lease, r.now()
	if _, known := r.knownLease(); known {
		return c.SendRequest(wire.MethodLeaseRenew, r.renewal())
	}
	return c.SendRequest(wire.MethodLeaseAcquire, wire.LeaseAcquire{
		Name: lease.Name, Owner: string(lease.Owner), Expires: now.Add(lease.TTL), Note: lease.Note, Held: held(now, lease.Hold),
	})
}

// knownLease is when the machine made our lease, if that is known.
func (r *relay) knownLease() (created time.Time, known bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	created = r.job.Lease.Known
	if !r.lease.Created.IsZero() {
		created = r.lease.Created
	}
	return created, !created.IsZero()
}

// setLease takes the machine's answer. A lease that was made anew has nothing of what was in ours.
func (r *relay) setLease(l wire.Lease) error {
	if created, known := r.knownLease(); known && !created.Equal(l.Created) {
		return fault.New(fault.RunLost, "lease %s: was made anew at %s, want that of %s: what was in it is gone from the machine",
			l.Name, l.Created.Format(time.RFC3339), created.Format(time.RFC3339))
	}
	r.mu.Lock()
	r.lease, r.result.Work = l, l.Work
	r.mu.Unlock()
	r.renewed(l)
	return nil
}

func (r *relay) renewed(l wire.Lease) {
	if r.job.Lease.Renewed != nil {
		r.job.Lease.Renewed(l.Expires)
	}
}

// keepLease renews the lease until the returned function is called.
func (r *relay) keepLease(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		// A time that is over, which Do refuses, is no interval.
		tick := time.NewTicker(max(min(r.job.Lease.TTL/3, renewEvery), renewAtMost))
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			// If it fails the next tick tries again, before the lease expires.
			if err := r.renew(ctx); err != nil {
				r.job.Log.Info("lease not renewed", "lease", r.job.Lease.Name, "cause", err)
			}
		}
	}()
	return func() {
		cancel()
		<-done
	}
}

func (r *relay) renew(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, renewLimit)
	defer cancel()
	var got wire.Lease
	if err := r.host.Call(ctx, wire.MethodLeaseRenew, r.renewal(), &got); err != nil {
		return err
	}
	r.renewed(got)
	return nil
}

// giveSlot lets others have the slot of a lease that stays for its files alone: nobody is to wait for somebody to
// fetch them. What still runs in it keeps the slot; if the machine is not told, it is free when Hold is over.
func (r *relay) giveSlot(ctx context.Context) {
	if _, known := r.knownLease(); !known || r.job.Lease.Hold <= 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), giveLimit)
	defer cancel()
	req := r.renewal()
	req.Held = time.Unix(1, 0) // over by any clock
	var got wire.Lease
	if err := r.host.Call(ctx, wire.MethodLeaseRenew, req, &got); err != nil {
		r.job.Log.Info("slot not given back", "lease", r.job.Lease.Name, "cause", err)
	}
}

// end releases the lease. An error that is there already is told first.
func (r *relay) end(ctx context.Context, err error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), releaseLimit)
	defer cancel()
	var released wire.LeaseReleased
	endErr := r.persist(ctx, func(ctx context.Context) error {
		return r.host.Call(ctx, wire.MethodLeaseRelease, wire.LeaseRelease{Name: r.job.Lease.Name}, &released)
	})
	for _, left := range released.Left[:min(len(released.Left), maxReleased)] {
		r.watcher.Warn("left on the machine: " + sanitize.Line(left, maxPath))
	}
	switch {
	case endErr == nil:
		return err
	case err == nil:
		return fault.New(fault.Of(endErr), "release lease %s: %w", r.job.Lease.Name, endErr)
	}
	return fault.New(fault.Of(err), "%w; and releasing lease %s: %v", err, r.job.Lease.Name, endErr)
}
