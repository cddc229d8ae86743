package relay

import (
	"context"
	"errors"
	"sync"
	"syscall"

	"outrigger.dev/outrigger/internal/fault"
)

// A stopper decides what a signal from the user means. While the user's command
// runs, the first goes to the command and the second makes us give up waiting;
// before and after, the first stops what we do. It never stops the cleaning up,
// which is the caller's and has a context of its own.
type stopper struct {
	cancel  context.CancelCauseFunc
	forward chan string

	mu      sync.Mutex
	running bool
	told    bool // the command has been sent a signal
}

// watch reads signals ("INT", "TERM", …) until ctx ends.
func watch(ctx context.Context, signals <-chan string) (*stopper, context.Context) {
	ctx, cancel := context.WithCancelCause(ctx)
	s := &stopper{cancel: cancel, forward: make(chan string, 8)}
	go func() {
		for {
			select {
			case <-ctx.Done():
				return
			case sig := <-signals:
				s.signal(ctx, sig)
			}
		}
	}()
	return s, ctx
}

func (s *stopper) signal(ctx context.Context, sig string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.running && !s.told {
		s.told = true
		select {
		case s.forward <- sig:
		case <-ctx.Done():
		}
		return
	}
	s.cancel(Interrupted(sig))
}

// Interrupted is what a signal makes of work that it has nothing to be handed to.
func Interrupted(signal string) error {
	number := map[string]syscall.Signal{"INT": syscall.SIGINT, "TERM": syscall.SIGTERM, "HUP": syscall.SIGHUP}[signal]
	return fault.New(fault.Interrupted, "stopped by SIG%s", signal).WithExit(fault.ExitSignal + int(number))
}

// run says whether signals belong to the command.
func (s *stopper) run(on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.running = on
}

// end stops watching.
func (s *stopper) end() { s.cancel(nil) }

// cause replaces the error of a cancelled context by why it was cancelled.
func cause(ctx context.Context, err error) error {
	if err == nil || ctx.Err() == nil {
		return err
	}
	if c := context.Cause(ctx); c != nil && !errors.Is(c, context.Canceled) {
		return c
	}
	return err
}
