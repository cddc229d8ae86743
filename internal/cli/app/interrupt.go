package app

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/relay"
)

// Interruptible returns a context that SIGINT and SIGTERM end, with a fault of kind
// Interrupted as its cause. A command gives it to all that waits, and cleans up
// with context.WithoutCancel. stop ends the listening.
//
// outrigger run does not use it: there the first signal is the command's.
func Interruptible(ctx context.Context) (_ context.Context, stop func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	done := make(chan struct{})
	go func() {
		defer close(done)
		select {
		case <-ctx.Done():
		case s := <-signals:
			cancel(interrupted(s))
		}
	}()
	return ctx, func() {
		cancel(nil)
		<-done
		signal.Stop(signals)
	}
}

func interrupted(s os.Signal) error {
	if s == syscall.SIGTERM {
		return relay.Interrupted("TERM")
	}
	return relay.Interrupted("INT")
}

// Cause returns why ctx ended instead of err, where err only says that it did.
func Cause(ctx context.Context, err error) error {
	if err == nil || ctx.Err() == nil {
		return err
	}
	if cause := context.Cause(ctx); fault.Is(cause, fault.Interrupted) {
		return cause
	}
	return err
}
