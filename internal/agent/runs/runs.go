// Package runs looks after runs: it starts each exactly once, keeps what it
// says until the client has it, passes on what it is told, and ends it when it
// is over or nobody is left who wants it.
//
// A run belongs to one process, the daemon. If that dies, the runs that had not ended are lost:
// the next one kills what is left of them. What runs said until then, and how those ended that
// had, the next one gives out.
package runs

import (
	"context"
	"log/slog"
	"sync"

	"outrigger.dev/outrigger/internal/agent/lease"
	"outrigger.dev/outrigger/internal/agent/loginenv"
	"outrigger.dev/outrigger/internal/agent/proc"
	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/wire"
)

// A Config is what a Supervisor needs.
type Config struct {
	Leases  *lease.Store
	Starter *proc.Starter
	// Login returns what a login has, and a warning for the user, or "".
	Login func(ctx context.Context) (login loginenv.Login, warning string)
	Self  string // path of this program
	Log   *slog.Logger
}

// A Supervisor holds the runs of one daemon.
type Supervisor struct {
	cfg   Config
	self  proc.Identity
	tasks sync.WaitGroup // goroutines of runs

	mu      sync.Mutex
	runs    map[key]*entry
	closed  bool
	changed chan struct{} // closed and replaced when a run comes or goes
}

type key struct{ lease, run string }

// An entry is a run, or the attempt to start it.
type entry struct {
	ready chan struct{} // closed when run or err is set
	run   *Run
	err   error
}

// New returns a Supervisor without runs.
func New(cfg Config) *Supervisor {
	return &Supervisor{cfg: cfg, self: proc.Self(), runs: map[key]*entry{}, changed: make(chan struct{})}
}

// Start starts a run, or returns the one that was started under that name.
func (s *Supervisor) Start(ctx context.Context, spec wire.RunSpec) (*Run, error) {
	return s.once(ctx, key{spec.Lease, spec.RunID}, func() (*Run, error) {
		// Whoever asked may be gone before it is started; it is started all the same.
		return s.start(context.WithoutCancel(ctx), spec)
	})
}

// Attach returns a run that was started. Of one whose daemon died, what it said
// is still given out. Anything else is a fault of kind RunLost.
func (s *Supervisor) Attach(ctx context.Context, leaseName, id string) (*Run, error) {
	return s.once(ctx, key{leaseName, id}, func() (*Run, error) {
		return s.recover(context.WithoutCancel(ctx), leaseName, id)
	})
}

// once lets one caller make the run, while others wait for it.
func (s *Supervisor) once(ctx context.Context, k key, make func() (*Run, error)) (*Run, error) {
	s.mu.Lock()
	e, there := s.runs[k]
	if !there {
		if s.closed {
			s.mu.Unlock()
			return nil, fault.New(fault.RunLost, "run %s: the agent is ending", k.run)
		}
		e = newEntry()
		s.runs[k] = e
	}
	s.mu.Unlock()
	if !there {
		e.run, e.err = make()
		if e.err != nil {
			s.forget(k)
		}
		close(e.ready)
	}
	select {
	case <-e.ready:
		return e.run, e.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func newEntry() *entry { return &entry{ready: make(chan struct{})} }

func (s *Supervisor) forget(k key) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.runs, k)
	close(s.changed)
	s.changed = make(chan struct{})
}

// Find returns a run that this daemon holds, nil if it does not.
func (s *Supervisor) Find(leaseName, id string) *Run {
	s.mu.Lock()
	e := s.runs[key{leaseName, id}]
	s.mu.Unlock()
	if e == nil {
		return nil
	}
	<-e.ready
	return e.run
}

// List returns the runs that this daemon holds.
func (s *Supervisor) List() []wire.RunState {
	var out []wire.RunState
	for _, r := range s.all() {
		out = append(out, r.state())
	}
	return out
}

func (s *Supervisor) all() []*Run {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []*Run
	for _, e := range s.runs {
		select {
		case <-e.ready:
			if e.run != nil {
				all = append(all, e.run)
			}
		default: // being started
		}
	}
	return all
}

// Count returns how many runs there are, those that are being started too, and
// a channel that is closed when one goes.
func (s *Supervisor) Count() (int, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.runs), s.changed
}

// Close ends all runs at once and waits for them. No run starts any more. What they said
// and how they ended stays on the disk: who was away when the user logged out, or the
// machine restarted, gets it from the next daemon.
func (s *Supervisor) Close() {
	s.mu.Lock()
	s.closed = true
	var waiting []*entry
	for _, e := range s.runs {
		waiting = append(waiting, e)
	}
	s.mu.Unlock()
	var all sync.WaitGroup
	for _, e := range waiting {
		all.Go(func() {
			<-e.ready
			if e.run != nil {
				e.run.End(wire.EndedByFault, true)
				e.run.forget(false)
			}
		})
	}
	all.Wait()
	s.tasks.Wait()
}
