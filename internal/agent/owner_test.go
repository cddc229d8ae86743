//go:build linux

package agent_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/runclient"
	"outrigger.dev/outrigger/internal/wire"
)

// names lists the leases that the client sees.
func (h *host) names() (names []string, others int) {
	h.t.Helper()
	list := must[wire.LeaseList](h, wire.MethodLeaseList, nil)
	for _, l := range list.Leases {
		names = append(names, l.Name)
	}
	return names, list.Others
}

func TestALeaseIsOfWhoHasItsKey(t *testing.T) {
	h := newHost(t)
	mine, other, nobody := h.as("mine"), h.as("other"), h.as("")
	l := mine.lease("a")
	other.lease("b")
	started := make(chan result, 1)
	spec := wire.RunSpec{RunID: "long", Lease: "a", Argv: []string{"/bin/sh", "-c", ": >ready; sleep 1000"}}
	go func() { started <- mine.run(spec, runclient.Streams{}, runclient.Options{}) }()
	h.await("the run", func() bool { _, err := os.Stat(filepath.Join(l.Work, "ready")); return err == nil })

	if names, others := mine.names(); strings.Join(names, " ") != "a" || others != 1 {
		t.Errorf("the owner sees %v and %d others", names, others)
	}
	for who, h := range map[string]*host{"another client": other, "one without a key": nobody} {
		if names, _ := h.names(); strings.Contains(strings.Join(names, " "), "a") {
			t.Errorf("%s sees %v", who, names)
		}
		for _, tt := range []struct {
			method string
			req    any
		}{
			{wire.MethodLeaseRelease, wire.LeaseRelease{Name: "a"}},
			{wire.MethodLeaseRelease, wire.LeaseRelease{Name: "a", Clean: true}},
			{wire.MethodLeaseRenew, wire.LeaseRenew{Name: "a", Expires: time.Now().Add(-time.Hour)}},
			{wire.MethodLeaseAcquire, wire.LeaseAcquire{Name: "a", Owner: "test", Expires: time.Now().Add(time.Hour)}},
			{wire.MethodLink, wire.LinkRequest{Lease: "a", Path: "/tmp/never-made-by-this-test"}},
			{wire.MethodLinkCheck, wire.LinkCheck{Links: []wire.LinkRequest{{Lease: "a", Path: "/etc"}}}},
			{wire.MethodSync, wire.SyncRequest{Lease: "a"}},
		} {
			if err := h.call(tt.method, tt.req, nil); !fault.Is(err, fault.RunLost) && !fault.Is(err, fault.NameTaken) {
				t.Errorf("%s: %s %+v: %v, want it refused", who, tt.method, tt.req, err)
			}
		}
		if runs := h.running(); len(runs) != 0 {
			t.Errorf("%s sees runs %+v", who, runs)
		}
		if got := h.run(wire.RunSpec{Lease: "a", Argv: []string{"true"}}, runclient.Streams{}, runclient.Options{}); got.outcome() != "RunLost" {
			t.Errorf("%s runs something in the lease: %s", who, got.outcome())
		}
		conn, err := h.dial(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if err := conn.Call(wire.MethodRunKill, wire.RunKill{Lease: "a", RunID: "long", Now: true}, nil); err != nil {
			t.Errorf("%s: kill: %v", who, err)
		}
		if err := conn.Call(wire.MethodRunAttach, wire.RunAttach{Lease: "a", RunID: "long"}, nil); !fault.Is(err, fault.RunLost) {
			t.Errorf("%s: attach: %v, want RunLost", who, err)
		}
		conn.Close()
	}
	if runs := mine.running(); len(runs) != 1 || runs[0].Ended {
		t.Errorf("the owner's runs are %+v, want one under way", runs)
	}
	b, err := os.ReadFile(filepath.Join(l.Dir, "lease.json"))
	if err != nil || strings.Contains(string(b), "mine") {
		t.Errorf("the record holds the key: %s, %v", b, err)
	}
	if info, err := os.Stat(filepath.Join(l.Dir, "lease.json")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode of the record: %v, %v", info.Mode(), err)
	}
	mine.release("a")
	if got := <-started; got.exit.Ending != wire.EndedByRelease {
		t.Errorf("the run's end: %+v, %v", got.exit, got.err)
	}
	// What is over is for everybody to release.
	must[wire.Lease](other, wire.MethodLeaseRenew, wire.LeaseRenew{Name: "b", Expires: time.Now().Add(-time.Second)})
	if names, _ := nobody.names(); strings.Join(names, " ") != "b" {
		t.Errorf("one without a key sees %v, want the one that is over", names)
	}
	nobody.release("b")
}

func TestALeaseWithoutAKeyIsAnybodysUntilItHasOne(t *testing.T) {
	h := newHost(t)
	h.lease("a")
	h.as("new").lease("a") // by the same installation, which has a key by now
	if err := h.as("else").call(wire.MethodLeaseRelease, wire.LeaseRelease{Name: "a"}, nil); !fault.Is(err, fault.NameTaken) {
		t.Errorf("release by another: %v, want NameTaken", err)
	}
	h.as("new").release("a")
}

// A tenant kills the agent's daemon, and leaves a process that has left session, parent and environment.
func TestNothingOutlivesARelease(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root for a control group")
	}
	h := newHost(t)
	h.lease("a")
	alive := filepath.Join(t.TempDir(), "alive")
	script := `(env -i setsid sh -c 'trap "" HUP TERM; echo $$ >` + alive + `; while :; do sleep 1; done' </dev/null >/dev/null 2>&1 &)
		while [ ! -s ` + alive + ` ]; do sleep 0.01; done
		p=$$; while [ "$p" -gt 1 ]; do
			case "$(readlink /proc/$p/exe)" in *outrigger-agent*) kill -9 $p;; esac
			p=$(sed 's/.*) . \([0-9]*\) .*/\1/' /proc/$p/stat)
		done; sleep 1000`
	done := make(chan result, 1)
	go func() { done <- h.run(sh(script), runclient.Streams{}, runclient.Options{}) }()
	if got := <-done; !fault.Is(got.err, fault.RunLost) {
		t.Errorf("the run: %+v, %v; want RunLost", got.exit, got.err)
	}
	h.release("a")
	b, err := os.ReadFile(alive)
	if err != nil {
		t.Fatal(err)
	}
	pid := strings.TrimSpace(string(b))
	runs := func() bool { // what was killed and not waited for has no command line
		line, err := os.ReadFile(filepath.Join("/proc", pid, "cmdline"))
		return err == nil && len(line) > 0
	}
	deadline := time.After(10 * time.Second)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for runs() {
		select {
		case <-tick.C: // the kernel takes a moment for what was killed
		case <-deadline:
			t.Fatalf("process %s of the tenant lives on", pid)
		}
	}
}

// The next one finds the home as it was.
func TestCleanReleaseRestoresTheHome(t *testing.T) {
	h := newHost(t)
	home := t.TempDir()
	h.env = append(h.env, "HOME="+home)
	if err := os.WriteFile(filepath.Join(home, ".profile"), []byte("export A=1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	digest := must[wire.HomeRecorded](h, wire.MethodHomeRecord, wire.HomeRecord{Sole: true}).Digest
	h.lease("a")
	h.lease("b")
	spec := sh(`echo evil >>~/.profile; mkdir -p ~/.ssh ~/.config/systemd/user; echo key >~/.ssh/authorized_keys; : >~/.config/systemd/user/x.service`)
	if got := h.run(spec, runclient.Streams{}, runclient.Options{}); got.outcome() != "exit 0" {
		t.Fatal(got.outcome(), got.err)
	}
	clean := func(name string) []string {
		return must[wire.LeaseReleased](h, wire.MethodLeaseRelease, wire.LeaseRelease{Name: name, Clean: true, Home: digest, Sole: true}).Left
	}
	if left := clean("a"); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
	if b, err := os.ReadFile(filepath.Join(home, ".profile")); err != nil || !strings.Contains(string(b), "evil") {
		t.Errorf("with another lease there, the profile is %q, %v", b, err)
	}
	if left := clean("b"); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
	if b, err := os.ReadFile(filepath.Join(home, ".profile")); err != nil || string(b) != "export A=1\n" {
		t.Errorf("the profile is %q, %v", b, err)
	}
	if b, err := os.ReadFile(filepath.Join(home, ".ssh", "authorized_keys")); err == nil && len(b) > 0 {
		t.Errorf("keys are %q", b)
	}
	if _, err := os.Stat(filepath.Join(home, ".config/systemd/user/x.service")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a user unit: %v, want it gone", err)
	}
	if err := os.WriteFile(filepath.Join(h.root, "home.json"), []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	if left := clean("none"); len(left) != 1 {
		t.Errorf("left: %v, want that the record is another", left)
	}
}
