//go:build linux

package prepare_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"outrigger.dev/outrigger/internal/machine"
	"outrigger.dev/outrigger/internal/prepare"
	"outrigger.dev/outrigger/internal/reach"
	"outrigger.dev/outrigger/internal/reach/deliver"
	"outrigger.dev/outrigger/test/macshell"
	"outrigger.dev/outrigger/test/sshd"
)

// agents holds the agent of this computer, under the name of each system that the
// machines of the tests say to be.
var agents string

func TestMain(m *testing.M) { os.Exit(buildAndRun(m)) }

func buildAndRun(m *testing.M) int {
	dir, err := os.MkdirTemp("", "prepare-test-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	agents = dir
	agent := filepath.Join(dir, "outrigger-agent-darwin-arm64")
	cmd := exec.Command("go", "build", "-ldflags", "-s -w", "-o", agent, "outrigger.dev/outrigger/cmd/agent")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build agent: %v\n%s", err, out)
		return 1
	}
	if err := os.Link(agent, filepath.Join(dir, "outrigger-agent-linux-amd64")); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

// A mac is a machine that is prepared.
type mac struct {
	*macshell.Mac
	t    *testing.T
	key  *sshd.Key
	want prepare.Want
}

func newMac(t *testing.T, o macshell.Options) *mac {
	t.Helper()
	m := &mac{Mac: macshell.Start(t, o), t: t, key: sshd.NewKey(t, "ed25519")}
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(m.Do("cd /; tail -n 50 " + macshell.Home + "/.outrigger/daemon/*/log /var/db/fakemac/argv 2>&1; cat /var/db/fakemac/launchd/*/pid; ps -eo pid,etime,args | grep '[o]utrigger-agent daemon'; true"))
		}
	})
	m.want = prepare.Want{
		OS: "darwin", Machine: "macs-1", Key: m.key.Line(), Password: machine.NewSecret(macshell.Password), Linked: []string{"workspace", "tekton"},
	}
	if o.Linux {
		m.want.OS, m.want.Linked = "linux", nil
	}
	return m
}

func (m *mac) visit() prepare.Visit {
	ep := m.Endpoint()
	ep.Auth = machine.Auth{Password: machine.NewSecret(macshell.Password)}
	return prepare.Visit{Endpoint: ep, Key: m.key.Secret(), Want: m.want, Agents: deliver.Dirs(agents)}
}

// prepare prepares the machine as a pool does.
func (m *mac) prepare() prepare.Ready {
	m.t.Helper()
	ready, err := prepare.Machine(m.t.Context(), m.visit())
	if err != nil {
		m.t.Fatal(err)
	}
	return ready
}

// mayEnter tells whether one way to log in is let in.
func (m *mac) mayEnter(auth machine.Auth) error {
	m.t.Helper()
	ep := m.Endpoint()
	ep.Auth = auth
	c, err := reach.Dial(m.t.Context(), ep, reach.Options{})
	if err == nil {
		c.Close()
	}
	return err
}

// summary says how the conditions stand, a line each.
func summary(r prepare.Report) string {
	var b strings.Builder
	for _, f := range r.Findings {
		state := "True"
		switch {
		case f.Unfit:
			state = "Unfit"
		case !f.OK:
			state = "False"
		}
		fmt.Fprintf(&b, "%s %s %s\n", f.Condition, state, f.Reason)
	}
	return b.String()
}

// finding returns one of them.
func finding(t *testing.T, r prepare.Report, c prepare.Condition) prepare.Finding {
	t.Helper()
	for _, f := range r.Findings {
		if f.Condition == c {
			return f
		}
	}
	t.Fatalf("no finding about %s:\n%s", c, summary(r))
	return prepare.Finding{}
}

// A recorder notes the scripts that go to a machine, with who executes them.
type recorder struct {
	prepare.Shell
	mu    sync.Mutex
	lines []string
	sent  string
}

func (r *recorder) Run(ctx context.Context, command string, stdin []byte) (prepare.Output, error) {
	r.mu.Lock()
	r.lines = append(r.lines, command)
	r.sent += string(stdin)
	r.mu.Unlock()
	return r.Shell.Run(ctx, command, stdin)
}
