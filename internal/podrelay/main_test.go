//go:build linux

package podrelay_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"outrigger.dev/outrigger/internal/handoff"
	"outrigger.dev/outrigger/internal/machine"
	"outrigger.dev/outrigger/test/sshd"
)

// Programs under test, as a Pod's image holds them.
var (
	relayBinary string
	agentsDir   string
)

func TestMain(m *testing.M) { os.Exit(buildAndRun(m)) }

func buildAndRun(m *testing.M) int {
	// What nohup(1) has ignored stays ignored in relays; they are to have it as in a Pod.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGHUP)
	dir, err := os.MkdirTemp("", "podrelay-test-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	relayBinary, agentsDir = filepath.Join(dir, "relay"), filepath.Join(dir, "agents")
	agent := filepath.Join(agentsDir, "outrigger-agent-linux-"+runtime.GOARCH)
	for path, args := range map[string][]string{
		relayBinary: append(append([]string{"build"}, raceFlags...), "-o", relayBinary, "outrigger.dev/outrigger/cmd/relay"),
		agent:       {"build", "-ldflags", "-s -w", "-o", agent, "outrigger.dev/outrigger/cmd/agent"},
	} {
		cmd := exec.Command("go", args...)
		if path == agent {
			cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		}
		if out, err := cmd.CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "build %s: %v\n%s", path, err, out)
			return 1
		}
	}
	if err := os.Symlink("relay", filepath.Join(dir, "shell")); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

// A pod is a Pod that holds a machine.
type pod struct {
	t      testing.TB
	server *sshd.Server
	base   string // where mount paths of tests are, on the machine and in containers
	dir    string // of the Pod's volumes and containers
	claim  handoff.Claim
}

func newPod(t testing.TB) *pod { t.Helper(); return newPodWith(t, sshd.Options{}) }

func newPodWith(t testing.TB, o sshd.Options) *pod {
	t.Helper()
	server := sshd.Start(t, o)
	p := &pod{t: t, server: server, base: server.Dir(t), dir: t.TempDir()}
	ep := server.Endpoint()
	p.claim = handoff.Claim{
		Version: handoff.Version, Name: "ns/claim", Lease: "claim", Owner: "k8s-test", Machine: "box",
		Platform: machine.Platform{OS: "linux", Arch: runtime.GOARCH},
		Endpoint: ep, Key: ep.Auth.Keys[0].Reveal(),
	}
	p.mkdir("state")
	return p
}

func (p *pod) mkdir(rel string) string {
	p.t.Helper()
	dir := filepath.Join(p.dir, rel)
	p.must(os.MkdirAll(dir, 0o777))
	p.must(os.Chmod(dir, 0o777))
	return dir
}

func (p *pod) must(err error) {
	p.t.Helper()
	if err != nil {
		p.t.Fatal(err)
	}
}

// at is a mount path of this test.
func (p *pod) at(rel string) string { return filepath.Join(p.base, rel) }

// A container is one container of the Pod: a root folder, and a plan.
type container struct {
	*pod
	root string
	plan handoff.Plan
	env  []string
	dir  string // the relay's working folder, below root
}

// container makes a container. Its root is a folder; the Pod's state and claim
// are links in it, which is what mounts are to the relay.
func (p *pod) container(name string, views ...handoff.View) *container {
	p.t.Helper()
	c := &container{pod: p, root: p.mkdir("root-" + name), plan: handoff.Plan{Version: handoff.Version, Container: name, Views: views}}
	p.mkdir("root-" + name + "/outrigger/claim")
	b, err := json.Marshal(p.claim)
	p.must(err)
	p.must(os.WriteFile(filepath.Join(c.root, handoff.ClaimFile), b, 0o644))
	for at, to := range map[string]string{handoff.StateDir: filepath.Join(p.dir, "state"), handoff.AgentsDir: agentsDir} {
		if err := os.Symlink(to, filepath.Join(c.root, at)); err != nil && !errors.Is(err, fs.ErrExist) {
			p.t.Fatal(err)
		}
	}
	return c
}

// mount shows a folder of the Pod, its volume, at a path of the container.
func (c *container) mount(volume, path string) string {
	c.t.Helper()
	source := c.mkdir("volume-" + volume)
	c.bind(source, path)
	return source
}

// bind shows a folder, which may be a part of a volume, at a path of the container.
func (c *container) bind(source, path string) {
	c.t.Helper()
	at := filepath.Join(c.root, path)
	c.must(os.MkdirAll(at, 0o777))
	if os.Geteuid() != 0 {
		c.t.Skip("mounts need root")
	}
	c.must(syscall.Mount(source, at, "", syscall.MS_BIND, ""))
	c.t.Cleanup(func() {
		if err := syscall.Unmount(at, 0); err != nil {
			c.t.Errorf("unmount %s: %v", at, err)
		}
	})
}

// file shows a file at a path of the container, as a mount with subPath does.
func (c *container) file(source, path string) {
	c.t.Helper()
	at := filepath.Join(c.root, path)
	c.must(os.MkdirAll(filepath.Dir(at), 0o777))
	c.must(os.WriteFile(at, nil, 0o644))
	if os.Geteuid() != 0 {
		c.t.Skip("mounts need root")
	}
	c.must(syscall.Mount(source, at, "", syscall.MS_BIND, ""))
	c.t.Cleanup(func() {
		if err := syscall.Unmount(at, 0); err != nil {
			c.t.Errorf("unmount %s: %v", at, err)
		}
	})
}

// A result is how a relay ended.
type result struct {
	code      int
	out, errs string
}

// command returns the relay as a process of the container.
func (c *container) command(program string, args ...string) *exec.Cmd {
	c.t.Helper()
	plan, err := json.Marshal(c.plan)
	c.must(err)
	cmd := exec.Command(filepath.Join(filepath.Dir(relayBinary), program), args...)
	cmd.Dir = filepath.Join(c.root, c.dir)
	cmd.Env = append([]string{
		"OUTRIGGER_ROOT=" + c.root, handoff.PlanVariable + "=" + string(plan),
		"PATH=/container/bin", "HOME=/container/home", "HOSTNAME=pod", "GORACE=halt_on_error=1 atexit_sleep_ms=0",
	}, c.env...)
	return cmd
}

// run runs a command to its end.
func (c *container) run(argv ...string) result {
	c.t.Helper()
	return c.finish(c.command("relay", append([]string{"run", "--"}, argv...)...))
}

func (c *container) sh(script string) result { c.t.Helper(); return c.run("/bin/sh", "-c", script) }

func (c *container) finish(cmd *exec.Cmd) result {
	c.t.Helper()
	var out, errs bytes.Buffer
	if cmd.Stdout == nil {
		cmd.Stdout = &out
	}
	cmd.Stderr = &errs
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		c.t.Fatal(err)
	}
	return result{cmd.ProcessState.ExitCode(), out.String(), errs.String()}
}

// want runs a script that is to end well and without a word of ours.
func (c *container) want(script, out string) {
	c.t.Helper()
	if got := c.sh(script); got != (result{0, out, ""}) {
		c.t.Errorf("%s:\ngot  %+v\nwant %+v", script, got, result{0, out, ""})
	}
}

// A process is a relay under way.
type process struct {
	*exec.Cmd
	t    testing.TB
	mu   sync.Mutex
	out  bytes.Buffer
	errs bytes.Buffer
	done chan struct{}
}

type locked struct {
	p *process
	w io.Writer
}

func (l locked) Write(b []byte) (int, error) {
	l.p.mu.Lock()
	defer l.p.mu.Unlock()
	return l.w.Write(b)
}

// start starts a command and leaves it running.
func (c *container) start(argv ...string) *process {
	c.t.Helper()
	return c.begin(c.command("relay", append([]string{"run", "--"}, argv...)...))
}

func (c *container) begin(cmd *exec.Cmd) *process {
	c.t.Helper()
	p := &process{Cmd: cmd, t: c.t, done: make(chan struct{})}
	if cmd.Stdout == nil {
		cmd.Stdout = locked{p, &p.out}
	}
	cmd.Stderr = locked{p, &p.errs}
	c.must(cmd.Start())
	go func() {
		_ = cmd.Wait() // how it ended is in its state
		close(p.done)
	}()
	c.t.Cleanup(func() {
		_ = cmd.Process.Kill() // it may have ended
		<-p.done
	})
	return p
}

func (p *process) said() (out, errs string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.out.String(), p.errs.String()
}

// await polls until the output holds text.
func (p *process) await(text string) {
	p.t.Helper()
	await(p.t, fmt.Sprintf("%q in the output", text), func() bool {
		out, _ := p.said()
		return strings.Contains(out, text)
	})
}

// end waits for the end.
func (p *process) end() result {
	p.t.Helper()
	select {
	case <-p.done:
	case <-time.After(2 * time.Minute):
		out, errs := p.said()
		p.t.Fatalf("it does not end; stdout %q, stderr %q", out, errs)
	}
	out, errs := p.said()
	return result{p.ProcessState.ExitCode(), out, errs}
}

func (p *process) signal(sig syscall.Signal) {
	p.t.Helper()
	if err := p.Process.Signal(sig); err != nil {
		p.t.Fatal(err)
	}
}

func await(t testing.TB, what string, fact func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !fact(); {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
		time.Sleep(5 * time.Millisecond) // between two looks, not instead of one
	}
}

func (p *pod) write(name, content string) {
	p.t.Helper()
	p.must(os.MkdirAll(filepath.Dir(name), 0o777))
	p.must(os.WriteFile(name, []byte(content), 0o644))
}

func (p *pod) read(name string) string {
	p.t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		p.t.Error(err)
	}
	return string(b)
}

// view is a view of mounts that are synced both ways.
func view(id string, paths ...string) handoff.View {
	v := handoff.View{ID: id}
	for _, path := range paths {
		v.Mounts = append(v.Mounts, handoff.Mount{Path: path, Volume: id})
	}
	return v
}
