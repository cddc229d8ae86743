package reaching

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"outrigger.dev/outrigger/test/program"
	"outrigger.dev/outrigger/test/sshd"
)

// bin is where the program is.
var bin string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		if os.Geteuid() != 0 {
			return m.Run() // every test says that it wants root
		}
		dir, err := os.MkdirTemp("", "outrigger-reaching-")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		if err := program.Build(context.Background(), dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		bin = filepath.Join(dir, "outrigger")
		return m.Run()
	}())
}

// The addresses of the two networks. The cable between them is 10.78.0.0/24;
// the cluster has no way to 10.77.0.0/24.
const (
	hubHost   = "10.78.0.1" // the cluster's end of the cable
	edge      = "10.78.0.2" // the private network's end
	inside    = "10.77.0.2" // the machine
	elsewhere = "10.77.0.3" // an address of the private network where nobody listens
	waitLimit = 20 * time.Second
)

// A site is a cluster and a private network with a machine in it.
type site struct {
	t       *testing.T
	cluster *sshd.Network
	private *sshd.Network
	sshd    *sshd.Server
	dir     string // for files of the test
}

func newSite(t *testing.T) *site {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root can make networks")
	}
	s := &site{t: t, cluster: sshd.NewNetwork(t), private: sshd.NewNetwork(t), dir: t.TempDir()}
	s.sshd = sshd.Start(t, sshd.Options{})
	for _, c := range []struct {
		in   *sshd.Network
		args string
	}{
		{s.cluster, "link add cable type veth peer name cable netns " + s.private.Path()},
		{s.cluster, "addr add " + hubHost + "/24 dev cable"},
		{s.private, "addr add " + edge + "/24 dev cable"},
		{s.private, "addr add " + inside + "/32 dev lo"},
		{s.private, "addr add " + elsewhere + "/32 dev lo"},
		{s.cluster, "link set cable up"},
		{s.private, "link set cable up"},
	} {
		s.must(c.in, append([]string{"ip"}, strings.Fields(c.args)...)...)
	}
	s.machine()
	if c, err := s.dial(s.cluster, inside+":22"); err == nil {
		c.Close()
		t.Fatal("the cluster reaches the private network by itself: the test proves nothing")
	}
	return s
}

// machine listens in the private network for the SSH server, which is this process's.
func (s *site) machine() {
	var ln net.Listener
	var err error
	s.private.Do(func() { ln, err = net.Listen("tcp", inside+":22") })
	if err != nil {
		s.t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer c.Close()
				to, err := net.Dial("tcp", s.sshd.Endpoint().Address())
				if err != nil {
					return // stopped
				}
				defer to.Close()
				var both sync.WaitGroup
				both.Go(func() { _, _ = io.Copy(to, c); to.Close() })
				both.Go(func() { _, _ = io.Copy(c, to); c.Close() })
				both.Wait()
			})
		}
	})
	s.t.Cleanup(func() {
		ln.Close()
		s.sshd.Kill() // so that the connections end
		wg.Wait()
	})
}

func (s *site) dial(n *sshd.Network, address string) (conn net.Conn, err error) {
	n.Do(func() { conn, err = net.DialTimeout("tcp", address, time.Second) })
	return conn, err
}

// command is one in a network, nil for this process's own, which ends with the test.
func (s *site) command(n *sshd.Network, args ...string) *exec.Cmd {
	if n != nil {
		args = append([]string{"nsenter", "--net=" + n.Path()}, args...)
	}
	cmd := exec.CommandContext(s.t.Context(), args[0], args[1:]...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second
	return cmd
}

func (s *site) must(n *sshd.Network, args ...string) string {
	s.t.Helper()
	out, err := s.command(n, args...).CombinedOutput()
	if err != nil {
		s.t.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

// A process is a server that runs until the test ends or it is killed.
type process struct {
	t    *testing.T
	cmd  *exec.Cmd
	done chan struct{}
	mu   sync.Mutex
	out  bytes.Buffer
}

func (s *site) start(n *sshd.Network, args ...string) *process {
	s.t.Helper()
	if _, err := exec.LookPath(args[0]); err != nil {
		s.t.Skipf("no %s here: %v", args[0], err)
	}
	p := &process{t: s.t, cmd: s.command(n, args...), done: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = p, p
	if err := p.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	go func() {
		_ = p.cmd.Wait() // how it ended is for the test to say
		close(p.done)
	}()
	s.t.Cleanup(func() {
		p.kill()
		if s.t.Failed() {
			s.t.Logf("%s:\n%s", strings.Join(args, " "), p.text())
		}
	})
	return p
}

// Write implements [io.Writer].
func (p *process) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.out.Write(b)
}

func (p *process) text() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.out.String()
}

// kill kills the process as a crash would.
func (p *process) kill() {
	if err := syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
		p.t.Errorf("kill: %v", err)
	}
	<-p.done
}

// says waits until the process has written text n times.
func (p *process) says(text string, n int) {
	p.t.Helper()
	await(p.t, fmt.Sprintf("%q is said %d times", text, n), func() bool { return strings.Count(p.text(), text) >= n })
}

// await waits for a fact.
func await(t *testing.T, what string, fact func() bool) {
	t.Helper()
	for end := time.Now().Add(waitLimit); !fact(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain until %s", what)
		}
	}
}

// listens waits until somebody listens at address, as seen from n.
func (s *site) listens(n *sshd.Network, address string) {
	s.t.Helper()
	await(s.t, address+" answers", func() bool {
		c, err := s.dial(n, address)
		if err == nil {
			c.Close()
		}
		return err == nil
	})
}

// file writes a file of the test.
func (s *site) file(name, content string) string {
	s.t.Helper()
	name = filepath.Join(s.dir, name)
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		s.t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
		s.t.Fatal(err)
	}
	return name
}

// config is a configuration whose one host is the machine at host, behind via.
func (s *site) config(host, via string) string {
	ep := s.sshd.Endpoint()
	key := s.file("client.key", s.sshd.Clients[0].PEM)
	return s.file("config.yaml", fmt.Sprintf(`
default: macs
providers:
  macs:
    via: %s
    ssh:
      hosts:
        - {address: %s, user: %s, keyFiles: [%s], hostKeys: [%q], slots: 4}
`, via, host, ep.User, key, ep.HostKeys[0]))
}

// outrigger is the program in the cluster.
func (s *site) outrigger(config string, args ...string) *exec.Cmd {
	cmd := s.command(s.cluster, append([]string{bin, "--config", config}, args...)...)
	cmd.Env = append(os.Environ(), "HOME="+s.dir, "XDG_STATE_HOME="+filepath.Join(s.dir, "state"))
	cmd.Dir = s.dir
	return cmd
}

// run runs the program to its end.
func (s *site) run(cmd *exec.Cmd) (stdout, stderr string, code int) {
	s.t.Helper()
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		s.t.Fatalf("%s: %v", cmd, err)
	}
	return out.String(), errOut.String(), cmd.ProcessState.ExitCode()
}

// works runs a command on the machine and checks that files go there and come back.
func (s *site) works(config string) {
	s.t.Helper()
	work, err := os.MkdirTemp(s.dir, "work-")
	if err != nil {
		s.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(work, "in"), []byte("there and back"), 0o600); err != nil {
		s.t.Fatal(err)
	}
	stdout, stderr, code := s.run(s.outrigger(config, "run", "--sync", work, "--", "sh", "-c", "cat in > out; echo here; exit 7"))
	if code != 7 || stdout != "here\n" {
		s.t.Errorf("exit code %d, output %q; want 7 and here\n%s", code, stdout, stderr)
	}
	if got, err := os.ReadFile(filepath.Join(work, "out")); err != nil || string(got) != "there and back" {
		s.t.Errorf("came back: %q, %v\n%s", got, err, stderr)
	}
}

// refuses wants a run to fail with code 125, this kind and these words.
func (s *site) refuses(config, kind string, words ...string) {
	s.t.Helper()
	stdout, stderr, code := s.run(s.outrigger(config, "--output", "json", "run", "--no-sync", "--", "true"))
	if code != 125 || !strings.Contains(stdout+stderr, `"`+kind+`"`) {
		s.t.Errorf("exit code %d, want 125 and a fault of kind %s:\n%s%s", code, kind, stdout, stderr)
	}
	for _, w := range words {
		if !strings.Contains(stdout+stderr, w) {
			s.t.Errorf("the message does not say %q:\n%s%s", w, stdout, stderr)
		}
	}
}
