package daemon

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"outrigger.dev/outrigger/internal/agent/disk"
	"outrigger.dev/outrigger/internal/closeonexec"
	"outrigger.dev/outrigger/internal/fault"
)

const (
	// joinLimit is how long it may take until a daemon greets, with its start.
	joinLimit = 20 * time.Second
	// greetLimit is how long a daemon that lives may take to greet.
	greetLimit = 10 * time.Second
	joinPause  = 5 * time.Millisecond
	// launchedLimit is how long a daemon that launchd started may take to greet.
	launchedLimit = 10 * time.Second
)

// Join returns a connection to the daemon, which it starts if there is none.
// Many may do this at once. It changes the working directory of the process.
func Join(ctx context.Context, cfg Config) (net.Conn, error) {
	dir, err := cfg.dir()
	if err != nil {
		return nil, err
	}
	if err := os.Chdir(dir); err != nil { // as in Run
		return nil, disk.Fault("daemon", err)
	}
	if err := renew(ctx, cfg, dir); err != nil {
		cfg.Log.Info("ask the daemon whether it is of this login", "error", err)
	}
	if c := knock(ctx, dir); c != nil {
		return c, nil
	}
	ctx, cancel := context.WithTimeout(ctx, joinLimit)
	defer cancel()
	unlock, err := disk.LockFile(ctx, filepath.Join(dir, "start.lock"))
	if err != nil {
		return nil, err
	}
	defer unlock()
	if c := knock(ctx, dir); c != nil {
		return c, nil // somebody else has started it
	}
	return start(ctx, cfg, dir)
}

// Find returns a connection to the daemon that lives, nil if there is none. It
// changes the working directory of the process.
func Find(ctx context.Context, cfg Config) (net.Conn, error) {
	dir, err := cfg.dir()
	if err != nil {
		return nil, err
	}
	if err := os.Chdir(dir); err != nil { // as in Run
		return nil, disk.Fault("daemon", err)
	}
	return knock(ctx, dir), nil
}

// start starts a daemon and waits until it greets: through launchd where that gives
// it a better session than ours, else as a process of its own.
func start(ctx context.Context, cfg Config, dir string) (net.Conn, error) {
	log, err := os.OpenFile(logName(dir), os.O_WRONLY|os.O_CREATE|os.O_TRUNC|os.O_APPEND, 0o600)
	if err != nil {
		return nil, disk.Fault("daemon", err)
	}
	defer log.Close()
	err = cfg.launch(ctx, dir)
	if err == nil {
		launched, cancel := context.WithTimeout(ctx, launchedLimit)
		defer cancel()
		c, why := await(launched, dir, nil)
		if c != nil {
			return c, nil
		}
		err = fault.New(fault.AgentUnfit, "launchd's daemon %s", why)
	}
	if !errors.Is(err, errNoLaunchd) {
		cfg.Log.Info("no daemon in the session with the window server, so one without", "error", err)
	}
	if err := closeonexec.Inherited(); err != nil {
		return nil, fault.New(fault.AgentUnfit, "daemon: %w", err)
	}
	// It outlives us.
	argv := cfg.argv()
	cmd := exec.CommandContext(context.WithoutCancel(ctx), argv[0], argv[1:]...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, log, log
	if err := detach(cmd); err != nil {
		return nil, fault.New(fault.AgentUnfit, "daemon: start %s: %w", cfg.Self, err)
	}
	died := make(chan struct{})
	go func() {
		defer close(died)
		_ = cmd.Wait() // what it has to say is in its log
	}()
	c, why := await(ctx, dir, died)
	if c != nil {
		return c, nil
	}
	words, err := os.ReadFile(logName(dir))
	if err != nil {
		words = []byte(err.Error())
	}
	return nil, fault.New(fault.AgentUnfit, "daemon: %s", why).WithDetail(tail(words))
}

// argv is the command line of a daemon.
func (c Config) argv() []string {
	return []string{c.Self, "daemon", "--root", string(c.Root), "--idle", c.idle().String()}
}

// logName is the file that a daemon writes what it has to say to.
func logName(dir string) string { return filepath.Join(dir, "log") }

// await waits until a daemon greets, or says why that was in vain.
func await(ctx context.Context, dir string, died <-chan struct{}) (c net.Conn, why string) {
	for {
		if c := knock(ctx, dir); c != nil {
			return c, ""
		}
		select {
		case <-time.After(joinPause):
		case <-died:
			return nil, "ended at once"
		case <-ctx.Done():
			return nil, "did not greet"
		}
	}
}

// tail returns the last lines of a log.
func tail(b []byte) string {
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	return strings.Join(lines[max(0, len(lines)-10):], "\n")
}

// knock returns a connection to a daemon that greets, nil if there is none.
func knock(ctx context.Context, dir string) net.Conn {
	c, err := dial(ctx, dir)
	if err != nil {
		return nil
	}
	first := make([]byte, 1)
	err = c.SetReadDeadline(time.Now().Add(greetLimit))
	if err == nil {
		_, err = io.ReadFull(c, first)
	}
	if err == nil {
		err = c.SetReadDeadline(time.Time{})
	}
	if err != nil {
		c.Close()
		return nil
	}
	return &greeted{Conn: c, rest: io.MultiReader(bytes.NewReader(first), c)}
}

// A greeted connection gives the byte back that was read to see that a daemon is there.
type greeted struct {
	net.Conn
	rest io.Reader
}

// Read reads from the beginning of the greeting.
func (g *greeted) Read(b []byte) (int, error) { return g.rest.Read(b) }

// CloseWrite says that nothing more will be written.
func (g *greeted) CloseWrite() error {
	if c, ok := g.Conn.(interface{ CloseWrite() error }); ok {
		return c.CloseWrite()
	}
	return g.Close()
}

// A door is where connections come in.
type door interface {
	net.Listener
	// admit checks that a connection is the user's own.
	admit(net.Conn) error
}
