//go:build linux

package agent_test

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/runclient"
	"outrigger.dev/outrigger/internal/wire"
)

func TestManyWhoConnectAtOnceStartOneDaemon(t *testing.T) {
	h := newHost(t)
	var tasks sync.WaitGroup
	for range 12 {
		tasks.Go(func() {
			conn, err := h.dial(t.Context())
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			if err := conn.Call(wire.MethodRunList, nil, nil); err != nil {
				t.Error(err)
			}
		})
	}
	tasks.Wait()
	daemons := 0
	for _, p := range h.processes() {
		if strings.Contains(p, " daemon ") {
			daemons++
		}
	}
	if daemons != 1 {
		t.Errorf("%d daemons live, want 1", daemons)
	}
}

func TestClientLearnsWhyThereIsNoDaemon(t *testing.T) {
	h := newHost(t)
	h.lease("a")
	// A file where the daemon's folder should be.
	if err := os.WriteFile(filepath.Join(h.root, "daemon"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	got := h.run(wire.RunSpec{Argv: []string{"true"}}, runclient.Streams{}, runclient.Options{})
	if !fault.Is(got.err, fault.RemoteFile) || !strings.Contains(got.err.Error(), "daemon") {
		t.Errorf("got %v, want what is wrong with the daemon's folder", got.err)
	}
}

func TestRunsHaveTheLoginEnvironment(t *testing.T) {
	h := newHost(t)
	h.lease("a")
	home := t.TempDir()
	profile := "echo hello from the profile\nexport FROM_PROFILE=yes PATH=\"$PATH:/from/profile\"\nexport MULTI='a\nb'\nsleep 1000 &\n"
	if err := os.WriteFile(filepath.Join(home, ".profile"), []byte(profile), 0o600); err != nil {
		t.Fatal(err)
	}
	h.env = append(h.env, "HOME="+home, "SSH_CONNECTION=x", "SHLVL=7")
	got := h.run(sh(`echo "$FROM_PROFILE $MULTI $HOME $SSH_CONNECTION"; case $PATH in *:/from/profile) echo path;; esac`), runclient.Streams{}, runclient.Options{})
	if want := "yes a\nb " + home + " \npath\n"; got.out != want {
		t.Errorf("got %q, %v; want %q", got.out, got.err, want)
	}
	h.await("the end of what the profile started", func() bool { return len(h.children()) == 0 })
}

func TestShellThatGivesNoEnvironmentIsReported(t *testing.T) {
	h := newHost(t)
	h.lease("a")
	h.env = append(h.env, "SHELL=/bin/false")
	var warnings []string
	got := h.run(wire.RunSpec{Argv: []string{"true"}}, runclient.Streams{}, runclient.Options{Warn: func(s string) { warnings = append(warnings, s) }})
	if got.outcome() != "exit 0" || len(warnings) != 1 || !strings.Contains(warnings[0], "/bin/false") {
		t.Errorf("got %s, %v, warnings %q", got.outcome(), got.err, warnings)
	}
}

func TestStatusStartsTheDaemonAndStopEndsIt(t *testing.T) {
	h := newHost(t)
	verb := func(verb string) string {
		t.Helper()
		p, err := h.start(verb)
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		out, err := io.ReadAll(p)
		if err != nil {
			t.Fatal(err)
		}
		return string(out)
	}
	if got := verb("stop"); got != "" {
		t.Errorf("stop without a daemon says %q, want nothing", got)
	}
	first := verb("status")
	if !strings.HasPrefix(first, "session=") || !strings.Contains(first, "\nruns=0\n") {
		t.Errorf("status says %q", first)
	}
	if again := verb("status"); again != first {
		t.Errorf("status says %q, then %q: want the same daemon", first, again)
	}
	verb("stop")
	h.await("the end of the daemon", func() bool { return len(h.processes()) == 0 })
	if next := verb("status"); next == first {
		t.Errorf("status says %q after stop: want another daemon", next)
	}
}
