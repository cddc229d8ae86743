package run

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"outrigger.dev/outrigger/internal/relay"
)

// signalNames are those that a run hands on, in the words of the protocol.
var signalNames = map[os.Signal]string{os.Interrupt: "INT", syscall.SIGTERM: "TERM", syscall.SIGHUP: "HUP"}

// listen reports signals by name until stop is called.
func listen() (signals chan string, stop func()) {
	raw := make(chan os.Signal, 4)
	signal.Notify(raw, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	signals = make(chan string)
	quit, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-quit:
				return
			case s := <-raw:
				select {
				case <-quit:
					return
				case signals <- signalNames[s]:
				}
			}
		}
	}()
	return signals, func() {
		signal.Stop(raw)
		close(quit)
		<-done
	}
}

// untilSignal returns a context that the first signal ends. handOver stops
// listening, for somebody else to go on; it does not end the context.
func untilSignal(ctx context.Context, signals <-chan string) (_ context.Context, handOver func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	quit, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		select {
		case <-quit:
		case <-ctx.Done():
		case s := <-signals:
			cancel(relay.Interrupted(s))
		}
	}()
	return ctx, func() {
		close(quit)
		<-done
	}
}
