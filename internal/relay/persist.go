package relay

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"outrigger.dev/outrigger/internal/fault"
)

// The waits between attempts to get back: the first is short, since most
// connections that break can be had again at once.
const (
	redialFirst = 200 * time.Millisecond
	redialMost  = 10 * time.Second
)

// persist repeats op, which must bear it, while the connection is what fails,
// for as long as the machine may go on without us.
func (r *relay) persist(ctx context.Context, op func(context.Context) error) error {
	var lost time.Time
	for wait := redialFirst; ; wait = min(wait*2, redialMost) {
		err := op(ctx)
		if err == nil && !lost.IsZero() {
			r.watcher.Back()
		}
		if err == nil || ctx.Err() != nil || !broken(err) {
			return err
		}
		if lost.IsZero() {
			lost = time.Now()
			r.watcher.Lost(err, r.job.Absence)
		}
		if time.Since(lost) > r.job.Absence {
			return fault.New(fault.MachineLost, "the machine is gone: no way back within %s: %w", r.job.Absence, err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(wait/2 + rand.N(wait/2+1)): // jitter, so that many clients do not come back at once
		}
	}
}

// broken tells an error of the connection from one that would come again: the
// first has no kind of its own, or says that nobody answers.
func broken(err error) bool {
	var f *fault.Error
	return !errors.As(err, &f) || f.Kind == fault.Unreachable
}
