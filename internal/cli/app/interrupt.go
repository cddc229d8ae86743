package app

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/relay"
)

// Interruptible returns a context that SIGINT, SIGTERM, SIGHUP, SIGQUIT and SIGABRT end, with a fault of
// kind Interrupted as its cause. A command gives it to all that waits, and cleans up
// with context.WithoutCancel. stop ends the listening.
//
// outrigger run does not use it: there the first signal is the command's.
func Interruptible(ctx context.Context) (_ context.Context, stop func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	signals := make(chan os.Signal, 1)
	for s := range ending {
		if !signal.Ignored(s) { // nohup, or a shell that started us in the background
			signal.Notify(signals, s)
		}
	}
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

// ending are the signals that ask a program to end, by their names without SIG.
var ending = map[os.Signal]string{os.Interrupt: "INT", syscall.SIGTERM: "TERM", syscall.SIGHUP: "HUP", syscall.SIGQUIT: "QUIT",
	syscall.SIGABRT: "ABRT"}

func interrupted(s os.Signal) error { return relay.Interrupted(ending[s]) }

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
