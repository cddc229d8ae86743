//go:build linux

package agent_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"outrigger.dev/outrigger/internal/machine"
	"outrigger.dev/outrigger/internal/runclient"
	"outrigger.dev/outrigger/internal/wire"
)

// agentBinary is the built program, the same that is delivered to machines.
var agentBinary string

func TestMain(m *testing.M) {
	os.Exit(buildAndRun(m))
}

func buildAndRun(m *testing.M) int {
	dir, err := os.MkdirTemp("", "agent-test-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	agentBinary = filepath.Join(dir, "outrigger-agent")
	if err := build(agentBinary, runtime.GOOS, raceFlags...); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

func build(path, goos string, flags ...string) error {
	cmd := exec.Command("go", append(append([]string{"build", "-o", path}, flags...), "outrigger.dev/outrigger/cmd/agent")...)
	cmd.Env = append(os.Environ(), "GOOS="+goos)
	if len(flags) == 0 { // the race detector is C
		cmd.Env = append(cmd.Env, "CGO_ENABLED=0")
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build agent for %s: %w\n%s", goos, err, out)
	}
	return nil
}

// A host is a machine with the agent on it: a root folder, and processes.
type host struct {
	t      testing.TB
	root   string
	idle   time.Duration
	env    []string
	binary string
	user   *syscall.Credential // nil: ours
	key    string              // of the client
}

// as returns the same host for a client with that key.
func (h *host) as(key string) *host {
	other := *h
	other.key = key
	return &other
}

// newHost returns a host whose daemon is stopped when the test ends.
func newHost(t testing.TB) *host {
	t.Helper()
	h := &host{t: t, root: t.TempDir(), idle: time.Minute, env: append(os.Environ(), "SHELL=/bin/sh", "GORACE=halt_on_error=1 atexit_sleep_ms=0"), binary: agentBinary}
	t.Cleanup(h.stop)
	return h
}

// A pipe is a process whose stdio is a connection.
type pipe struct {
	io.Reader
	io.WriteCloser
	cmd  *exec.Cmd
	once sync.Once
}

// Close ends the process, as the end of an SSH session does.
func (p *pipe) Close() error {
	p.once.Do(func() {
		p.WriteCloser.Close()
		_ = p.cmd.Process.Kill() // it may have ended
		_ = p.cmd.Wait()         // it was killed
	})
	return nil
}

// open starts the agent with verb and greets it.
func (h *host) open(ctx context.Context, verb string) (*wire.Conn, error) {
	p, err := h.start(verb)
	if err != nil {
		return nil, err
	}
	conn := wire.NewConn(p)
	if err := conn.GreetAs("test", machine.Platform{OS: runtime.GOOS, Arch: runtime.GOARCH}, h.key); err != nil {
		return nil, err
	}
	return conn, conn.Flush()
}

func (h *host) start(verb string) (*pipe, error) {
	cmd := exec.Command(h.binary, verb, "--root", h.root, "--idle", h.idle.String())
	cmd.Env = h.env
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: h.user}
	if testing.Verbose() {
		cmd.Stderr = os.Stderr
	}
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	return &pipe{Reader: out, WriteCloser: in, cmd: cmd}, nil
}

func (h *host) dial(ctx context.Context) (*wire.Conn, error) { return h.open(ctx, "connect") }

// call makes one request to serve.
func (h *host) call(method string, req, resp any) error {
	conn, err := h.open(context.Background(), "serve")
	if err != nil {
		return err
	}
	defer conn.Close()
	return conn.Call(method, req, resp)
}

// must makes one request that has to succeed.
func must[A any](h *host, method string, req any) A {
	h.t.Helper()
	var a A
	if err := h.call(method, req, &a); err != nil {
		h.t.Fatalf("%s: %v", method, err)
	}
	return a
}

// lease takes a lease.
func (h *host) lease(name string) wire.Lease {
	h.t.Helper()
	return must[wire.Lease](h, wire.MethodLeaseAcquire, wire.LeaseAcquire{Name: name, Owner: "test", Expires: time.Now().Add(time.Hour)})
}

// stop stops the daemon, if there is one, and prints its log if the test failed.
func (h *host) stop() {
	dirs, err := filepath.Glob(filepath.Join(h.root, "daemon", "*"))
	if err != nil {
		h.t.Error(err)
	}
	for _, dir := range dirs {
		if h.t.Failed() {
			if log, err := os.ReadFile(filepath.Join(dir, "log")); err == nil {
				h.t.Logf("daemon's log:\n%s", log)
			}
		}
		if _, err := os.Stat(filepath.Join(dir, "socket")); errors.Is(err, fs.ErrNotExist) {
			continue // none was started, or it has ended
		}
		conn, err := h.dial(context.Background())
		if err != nil {
			h.t.Errorf("stop daemon: %v", err)
			continue
		}
		if err := conn.Call(wire.MethodStop, nil, nil); err != nil {
			h.t.Errorf("stop daemon: %v", err)
		}
		conn.Close()
		h.await("the daemon's end", func() bool {
			_, err := os.Stat(filepath.Join(dir, "socket"))
			return errors.Is(err, fs.ErrNotExist)
		})
	}
	h.await("all processes' end", func() bool { return len(h.processes()) == 0 })
}

// await polls for a fact.
func (h *host) await(what string, fact func() bool) {
	h.t.Helper()
	for deadline := time.Now().Add(time.Minute); !fact(); {
		if time.Now().After(deadline) {
			// Not fatal: many who wait are not the test's own goroutine.
			h.t.Errorf("waited in vain for %s; processes: %v", what, h.processes())
			return
		}
		time.Sleep(2 * time.Millisecond) // between two looks, not instead of one
	}
}

// processes lists what runs below this host's root, by what it was started as or inherited.
func (h *host) processes() []string {
	var found []string
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		h.t.Error(err)
	}
	for _, d := range dirs {
		if filepath.Base(d) == fmt.Sprint(os.Getpid()) {
			continue
		}
		cmdline, err1 := os.ReadFile(filepath.Join(d, "cmdline"))
		environ, err2 := os.ReadFile(filepath.Join(d, "environ"))
		if err1 != nil || err2 != nil {
			continue // gone
		}
		if strings.Contains(string(cmdline), h.root) || strings.Contains(string(environ), h.root) {
			found = append(found, filepath.Base(d)+" "+strings.ReplaceAll(string(cmdline), "\x00", " "))
		}
	}
	return found
}

// A result is what became of a run.
type result struct {
	exit      runclient.Exit
	err       error
	out, errs string
}

// run runs spec to its end.
func (h *host) run(spec wire.RunSpec, streams runclient.Streams, opts runclient.Options) result {
	h.t.Helper()
	var out, errs bytes.Buffer
	if streams.Out == nil {
		streams.Out = &out
	}
	if streams.Err == nil {
		streams.Err = &errs
	}
	exit, err := runclient.Run(h.t.Context(), h.dial, h.spec(spec), streams, opts)
	return result{exit, err, out.String(), errs.String()}
}

// spec fills in what most tests do not care about.
func (h *host) spec(spec wire.RunSpec) wire.RunSpec {
	if spec.Lease == "" {
		spec.Lease = "a"
	}
	if spec.RunID == "" {
		spec.RunID = string(machine.NewName("run"))
	}
	return spec
}

func sh(script string) wire.RunSpec { return wire.RunSpec{Argv: []string{"/bin/sh", "-c", script}} }
