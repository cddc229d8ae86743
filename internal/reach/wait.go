package reach

import (
	"context"
	"time"

	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/machine"
)

// How often Wait tries. A restored guest answers after 0.3 seconds and a small
// one that boots after two, so the first tries follow each other closely; a Mac
// takes minutes, so the later ones do not.
const (
	firstPause = 50 * time.Millisecond
	lastPause  = time.Second
	pauseGrows = 1.15
	firstQuiet = 150 * time.Millisecond // of a port that accepts and says nothing
	quietGrows = 1.5
)

// Wait dials until the machine answers, the login is refused, the host key is
// wrong or ctx ends. It is for machines that were just made: it tries often,
// and a port that accepts but says nothing does not hold it up. When ctx ends,
// the error is that of the last attempt and wraps ctx's.
func Wait(ctx context.Context, ep machine.Endpoint, opts Options) (*Client, error) {
	opts = opts.withDefaults()
	r, err := newRoute(ep, opts)
	if err != nil {
		return nil, err
	}
	pause, quiet := firstPause, firstQuiet
	start := time.Now()
	var last error
	for try := 1; ; try++ {
		c, err := r.attempt(ctx, ep, quiet)
		if err == nil {
			opts.Log.Debug("machine answers", "host", c.Where(), "tries", try, "after", time.Since(start))
			return c, nil
		}
		if !fault.Is(err, fault.Unreachable) {
			r.close()
			return nil, err
		}
		if ctx.Err() == nil || last == nil {
			last = err // the attempt that ctx cut short knows less than the one before
		}
		select {
		case <-ctx.Done():
			r.close()
			return nil, fault.New(fault.Unreachable, "%w (tried %d times in %v)", also{last, context.Cause(ctx)}, try, time.Since(start).Round(time.Millisecond))
		case <-time.After(pause):
		}
		pause = min(time.Duration(float64(pause)*pauseGrows), lastPause)
		quiet = min(time.Duration(float64(quiet)*quietGrows), opts.Timeout)
	}
}

// attempt dials once and keeps the jump hosts for the next attempt.
func (r *route) attempt(ctx context.Context, ep machine.Endpoint, quiet time.Duration) (*Client, error) {
	if len(r.hops) != len(ep.Jumps) {
		if err := r.open(ctx, ep.Jumps); err != nil {
			return nil, err
		}
	}
	l, err := r.next(ctx, ep, quiet)
	if err == nil {
		return newClient(l, *r), nil
	}
	for _, h := range r.hops {
		if h.conn.err() != nil {
			r.close() // a jump host went away: begin again from the first
			break
		}
	}
	return nil, err
}
