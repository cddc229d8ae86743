package runclient

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"syscall"
	"time"

	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/wire"
)

// judge says what we failed to do, if a run that ended tells of it.
func (c *client) judge(e Exit) error {
	if e.Fault != nil {
		return e.Fault.Err()
	}
	switch e.Ending {
	case wire.EndedByTimeout:
		return fault.New(fault.TimedOut, "run %s: ended after its time limit of %s", c.spec.RunID, c.spec.Timeout)
	case wire.EndedByAbsence:
		return fault.New(fault.RunLost, "run %s: ended because nobody was connected for %s", c.spec.RunID, c.spec.Absence)
	case wire.EndedByRelease:
		return fault.New(fault.RunLost, "run %s: ended because its lease %s was released or expired", c.spec.RunID, c.spec.Lease)
	case wire.EndedByClient:
		return fault.New(fault.Interrupted, "run %s: ended because another client asked for it", c.spec.RunID)
	}
	return nil
}

// interrupted says why ctx ended, in the caller's own words if it gave a fault.
func interrupted(ctx context.Context) error {
	cause := context.Cause(ctx)
	var f *fault.Error
	if errors.As(cause, &f) {
		return cause
	}
	return fault.New(fault.Interrupted, "run: given up: %w", cause)
}

// brokenStream is the outcome of a run that was killed because nobody could
// take its output: a closed pipe is what SIGPIPE is for, anything else is our fault.
func brokenStream(e Exit, err error) (Exit, error) {
	switch {
	case errors.Is(err, syscall.EPIPE), errors.Is(err, io.ErrClosedPipe):
		e.Code, e.Signal, e.SigNum, e.Ending = 0, "PIPE", int(syscall.SIGPIPE), ""
		return e, nil
	case errors.Is(err, syscall.ENOSPC):
		return e, fault.New(fault.DiskFull, "run: write output: %w", err).WithRemedy("Free some space where the output goes.")
	}
	return e, fault.New(fault.LocalFile, "run: write output: %w", err).WithRemedy("Look at where the output goes.")
}

// hopeless tells whether dialling again would only say the same.
func hopeless(err error) bool {
	switch fault.Of(err) {
	case fault.HostKey, fault.AuthRefused, fault.AgentUnfit, fault.Protocol, fault.Config, fault.Usage, fault.UnknownMachine:
		return true
	}
	return false
}

const (
	firstPause = 50 * time.Millisecond
	maxPause   = 5 * time.Second
)

// A backoff spaces attempts: pauses double from firstPause to maxPause, each
// cut by a random part so that many clients do not come back at once.
type backoff struct {
	limit time.Duration // from the first pause on
	begun time.Time
	pause time.Duration
}

// wait pauses before the next attempt. It returns cause when the limit is reached.
func (b *backoff) wait(ctx context.Context, cause error) error {
	now := time.Now()
	if b.begun.IsZero() {
		b.begun, b.pause = now, firstPause
	}
	if now.Sub(b.begun) >= b.limit {
		return cause
	}
	t := time.NewTimer(b.pause/2 + rand.N(b.pause/2+1))
	defer t.Stop()
	b.pause = min(2*b.pause, maxPause)
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
