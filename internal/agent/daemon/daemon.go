// Package daemon is the process that outlives connections: it holds the runs of
// one user and one build of the agent, and answers those who connect.
//
// There is at most one, held apart by a lock that ends with it. It is started
// by the first who connects and needs it ([Join]), is reached through a door that only its
// user can open (a socket in a folder of mode 0700; on Windows a loopback port and a
// token in a file), and ends itself when nothing has wanted it for a while.
//
// It greets before anything else, so who connects at the moment of its end can
// tell: no greeting came, and the next one is asked.
package daemon

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"outrigger.dev/outrigger/internal/agent/disk"
	"outrigger.dev/outrigger/internal/agent/lease"
	"outrigger.dev/outrigger/internal/agent/loginenv"
	"outrigger.dev/outrigger/internal/agent/proc"
	"outrigger.dev/outrigger/internal/agent/runs"
	"outrigger.dev/outrigger/internal/agent/session"
	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/version"
	"outrigger.dev/outrigger/internal/wire"
)

// DefaultIdle is how long a daemon waits for the next run. Starting one costs
// a login shell, which can be a second; waiting costs 10 MB. A guess.
const DefaultIdle = 5 * time.Minute

const (
	// takeOver is how long a new daemon waits for one that is ending.
	takeOver = 10 * time.Second
	// firstRequest is how long a connection may take to say what it wants.
	firstRequest = time.Minute
)

// A Config says which daemon.
type Config struct {
	Root   disk.Root
	Digest string        // of the agent's build
	Self   string        // path of this program
	Idle   time.Duration // 0: DefaultIdle
	Log    *slog.Logger
}

// EnvironVerb is the verb that prints the environment, see package loginenv.
const EnvironVerb = "environ"

func (c Config) idle() time.Duration {
	if c.Idle > 0 {
		return c.Idle
	}
	return DefaultIdle
}

// dir makes the daemon's folder and sees that it is ours alone.
func (c Config) dir() (string, error) {
	dir := c.Root.Daemon(c.Digest)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", disk.Fault("daemon", err)
	}
	return dir, private(dir)
}

// A server is a daemon under way.
type server struct {
	cfg    Config
	leases *lease.Store
	runs   *runs.Supervisor
	stop   context.CancelFunc
	// session is the kind of session that runs are in.
	session string

	mu      sync.Mutex
	conns   int
	closing bool
	changed chan struct{} // closed and replaced when a connection comes or goes
}

// Run is the daemon's life: until ctx ends, it is told to stop, or it is idle.
// When another one lives already, it returns at once. It changes the working
// directory of the process.
func Run(ctx context.Context, cfg Config) error {
	dir, err := cfg.dir()
	if err != nil {
		return err
	}
	lockCtx, cancel := context.WithTimeout(ctx, takeOver)
	unlock, err := disk.LockFile(lockCtx, filepath.Join(dir, "alive.lock"))
	cancel()
	if fault.Is(err, fault.Busy) && ctx.Err() == nil {
		cfg.Log.Info("another daemon lives")
		return nil
	}
	if err != nil {
		return err
	}
	defer unlock()
	// Socket addresses are short (104 bytes on macOS), paths of homes are not.
	if err := os.Chdir(dir); err != nil {
		return disk.Fault("daemon", err)
	}
	// Now: later the starter would take what is asked for an orphan of a run. It stays the same.
	kind := session.Kind(ctx)
	starter, err := proc.NewStarter()
	if err != nil {
		return fault.New(fault.AgentUnfit, "daemon: %w", err)
	}
	leases := lease.Open(cfg.Root, cfg.Log)
	if swept, err := leases.Sweep(ctx); err != nil {
		cfg.Log.Warn("sweep at start", "error", err)
	} else {
		cfg.Log.Info("swept at start", "leases", swept.Leases, "runs", swept.Runs)
	}
	d, err := listen(ctx, dir)
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	s := &server{cfg: cfg, leases: leases, stop: stop, session: kind, changed: make(chan struct{})}
	s.runs = runs.New(runs.Config{Leases: leases, Starter: starter, Log: cfg.Log, Login: cfg.login(starter), Self: cfg.Self})
	cfg.Log.Info("daemon started", "pid", os.Getpid(), "build", version.Version, "idle", cfg.idle())
	return s.run(ctx, d, starter)
}

// login asks the login shell, when what it says may have changed.
func (c Config) login(starter *proc.Starter) func(context.Context) (loginenv.Login, string) {
	cache := loginenv.Cache{Now: time.Now, Ask: func(ctx context.Context) (loginenv.Login, string) {
		return loginenv.Read(ctx, c.Self, EnvironVerb, starter.Run, c.Log)
	}}
	return cache.Get
}

func (s *server) run(ctx context.Context, d door, starter *proc.Starter) error {
	var tasks sync.WaitGroup
	tasks.Go(func() { s.accept(ctx, d, &tasks) })
	tasks.Go(func() { starter.Mind(ctx, s.cfg.Log) })
	s.watch(ctx)
	s.stop()
	s.runs.Close()
	err := d.Close()
	tasks.Wait()
	s.cfg.Log.Info("daemon ended")
	return err
}

// accept serves connections until the door is closed.
func (s *server) accept(ctx context.Context, d door, tasks *sync.WaitGroup) {
	for {
		c, err := d.Accept()
		if err != nil {
			if !errors.Is(err, net.ErrClosed) {
				s.cfg.Log.Error("accept", "error", err)
				s.stop()
			}
			return
		}
		if !s.enter() {
			c.Close()
			continue
		}
		tasks.Go(func() {
			defer s.leave()
			defer c.Close()
			if err := d.admit(c); err != nil {
				s.cfg.Log.Warn("connection not admitted", "error", err)
				return
			}
			if err := s.serve(ctx, wire.NewConn(c)); err != nil && !errors.Is(err, errStreamed) && ctx.Err() == nil {
				s.cfg.Log.Info("connection ended", "cause", err)
			}
		})
	}
}

func (s *server) enter() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing {
		return false
	}
	s.conns++
	s.ring()
	return true
}

func (s *server) leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.conns--
	s.ring()
}

func (s *server) ring() {
	close(s.changed)
	s.changed = make(chan struct{})
}

// watch returns when ctx ends or nothing has been there for the idle time.
func (s *server) watch(ctx context.Context) {
	idle := time.NewTimer(s.cfg.idle())
	defer idle.Stop()
	for {
		n, runsChanged := s.runs.Count()
		s.mu.Lock()
		busy := n > 0 || s.conns > 0
		changed := s.changed
		s.mu.Unlock()
		if busy {
			idle.Stop()
		} else {
			idle.Reset(s.cfg.idle())
		}
		select {
		case <-ctx.Done():
			return
		case <-changed:
		case <-runsChanged:
		case <-idle.C:
			if s.close(0) {
				s.cfg.Log.Info("idle")
				return
			}
		}
	}
}

// close lets nobody in any more, unless there are runs or more than so many connections.
func (s *server) close(conns int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	// Counted under the lock: without a connection no run can begin after that.
	n, _ := s.runs.Count()
	s.closing = n == 0 && s.conns <= conns
	return s.closing
}
