package relay

import (
	"context"
	"errors"
	"slices"
	"sync"
	"syscall"
	"time"

	"outrigger.dev/outrigger/internal/fault"
)

// A stopper decides what a signal from the user means. While the user's command
// runs, it goes to the command; but the second that asks for the end (INT, TERM,
// HUP) makes us give up waiting, and so does the first if the machine does not get to the start. Before and after, the first that ends programs
// stops what we do. It never stops the cleaning up, which is the caller's and has
// a context of its own.
//
// With a grace, as in a container, all signals go to the command while it
// runs, one that comes before stops what we do, and after a TERM time runs out:
// the command is killed, and a little later we give up whatever we do. A signal
// that comes after the command changes nothing.
type stopper struct {
	cancel  context.CancelCauseFunc
	forward chan string
	grace   time.Duration
	news    chan struct{} // something is queued; holds one

	mu      sync.Mutex
	queue   []string // for the command
	running bool
	ran     bool
	begun   bool // the machine has answered that the command is there
	told    bool // the command has been asked to end
	startIn time.Duration
	timers  []*time.Timer
}

// killAfter is how long after the command was killed its end may take to be
// heard of and its files to come back.
const killAfter = 3 * time.Second

// startIn is how long the machine may take to start the command after a signal for it.
const startIn = 3 * time.Second

// watch reads signals ("INT", "TERM", …) until ctx ends.
func watch(ctx context.Context, signals <-chan string, grace time.Duration) (*stopper, context.Context) {
	ctx, cancel := context.WithCancelCause(ctx)
	s := &stopper{cancel: cancel, forward: make(chan string), grace: grace, news: make(chan struct{}, 1), startIn: startIn}
	go s.pump(ctx)
	go func() {
		for {
			select {
			case <-ctx.Done():
				return
			case sig := <-signals:
				s.signal(sig)
			}
		}
	}()
	return s, ctx
}

func (s *stopper) signal(sig string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if asks := sig == "INT" || sig == "TERM" || sig == "HUP"; s.running && (!asks || !s.told || s.grace > 0) {
		if asks && !s.told && !s.begun && s.grace == 0 {
			s.awaitStart(sig)
		}
		s.told = s.told || asks
		s.send(sig)
		if s.grace > 0 && sig == "TERM" && s.timers == nil {
			s.count(sig)
		}
		return
	}
	if _, ends := Numbers[sig]; !ends || s.grace > 0 && s.ran {
		return
	}
	s.cancel(Interrupted(sig))
}

// awaitStart gives up if no command is there soon that could take sig, with s.mu held: it would not be
// heard of, however long the machine takes.
func (s *stopper) awaitStart(sig string) {
	s.timers = append(s.timers, time.AfterFunc(s.startIn, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.running && !s.begun {
			s.cancel(Interrupted(sig))
		}
	}))
}

// began says that the command is there.
func (s *stopper) began() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.begun = true
}

// send queues a signal for the command, with s.mu held. As in the kernel, one that waits already is
// not queued twice.
func (s *stopper) send(sig string) {
	if slices.Contains(s.queue, sig) {
		return
	}
	s.queue = append(s.queue, sig)
	select {
	case s.news <- struct{}{}:
	default:
	}
}

// pump hands the queue on, however long the command's side takes, until ctx ends.
func (s *stopper) pump(ctx context.Context) {
	for {
		s.mu.Lock()
		sig := ""
		if len(s.queue) > 0 {
			sig = s.queue[0]
			s.queue = s.queue[1:]
		}
		s.mu.Unlock()
		if sig == "" {
			select {
			case <-s.news:
				continue
			case <-ctx.Done():
				return
			}
		}
		select {
		case s.forward <- sig:
		case <-ctx.Done():
			return
		}
	}
}

// count begins to count the grace down.
func (s *stopper) count(sig string) {
	s.timers = []*time.Timer{
		time.AfterFunc(s.grace, func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.send("KILL")
		}),
		time.AfterFunc(s.grace+killAfter, func() { s.cancel(Interrupted(sig)) }),
	}
}

// Numbers are those of signals by the names that the protocol uses.
var Numbers = map[string]syscall.Signal{
	"INT": syscall.SIGINT, "TERM": syscall.SIGTERM, "HUP": syscall.SIGHUP, "QUIT": syscall.SIGQUIT,
	"ABRT": syscall.SIGABRT,
}

// Interrupted is what a signal makes of work that it has nothing to be handed to.
func Interrupted(signal string) error {
	return fault.New(fault.Interrupted, "stopped by SIG%s", signal).WithExit(fault.ExitSignal + int(Numbers[signal]))
}

// run says whether signals belong to the command.
func (s *stopper) run(on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.running = on
	s.ran = s.ran || !on
}

// end stops watching.
func (s *stopper) end() {
	s.cancel(nil)
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range s.timers {
		t.Stop()
	}
}

// UntilSignal returns a context that the first signal ends, for work that comes
// before a job. handOver stops listening, for somebody else to go on; it does
// not end the context.
func UntilSignal(ctx context.Context, signals <-chan string) (_ context.Context, handOver func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	quit, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-quit:
				return
			case <-ctx.Done():
				return
			case s := <-signals:
				if _, ends := Numbers[s]; ends {
					cancel(Interrupted(s))
				}
			}
		}
	}()
	return ctx, func() {
		close(quit)
		<-done
	}
}

// Cause replaces the error of a cancelled context by why it was cancelled.
func Cause(ctx context.Context, err error) error { return cause(ctx, err) }

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
