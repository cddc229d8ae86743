//go:build linux

package agent_test

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/runclient"
	"outrigger.dev/outrigger/internal/wire"
)

// abandon starts a run and leaves it alone; ended waits for its end.
func (h *host) abandon(l wire.Lease, script string, ended bool) (spec wire.RunSpec, dir string) {
	h.t.Helper()
	conn, err := h.dial(h.t.Context())
	if err != nil {
		h.t.Fatal(err)
	}
	defer conn.Close()
	spec = h.spec(sh(script))
	spec.Lease = l.Name
	if err := conn.Call(wire.MethodRunStart, wire.RunStart{Spec: spec}, nil); err != nil {
		h.t.Fatal(err)
	}
	dir = filepath.Join(l.Dir, "runs", spec.RunID)
	if ended {
		h.await("the run's end", func() bool {
			b, err := os.ReadFile(filepath.Join(dir, "run.json"))
			return err == nil && strings.Contains(string(b), `"ended"`)
		})
	}
	return spec, dir
}

// fetch comes back to a run.
func (h *host) fetch(spec wire.RunSpec) (exit runclient.Exit, out string, err error) {
	h.t.Helper()
	var b strings.Builder
	exit, err = runclient.Run(h.t.Context(), h.dial, spec, runclient.Streams{Out: &b}, runclient.Options{Resume: true})
	return exit, b.String(), err
}

// A run ends while its client is away. Then its daemon goes, in one of the ways there are.
func TestEndedRunIsGivenOutByTheNextDaemon(t *testing.T) {
	stop := func(h *host) { h.stop() }
	for _, tt := range []struct {
		name string
		end  func(h *host)
	}{
		{"killed", (*host).killDaemon},
		{"ended as at a logout or a shutdown", stop},
		{"killed twice", func(h *host) { h.killDaemon(); h.running(); h.killDaemon() }},
		{"killed, and swept", func(h *host) {
			h.killDaemon()
			if out, err := exec.Command(agentBinary, "sweep", "--root", h.root).CombinedOutput(); err != nil {
				h.t.Fatalf("%v: %s", err, out)
			}
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := newHost(t)
			l := h.lease("a")
			spec, dir := h.abandon(l, "seq 1 200000; echo built >&2; exit 7", true)
			tt.end(h)
			exit, out, err := h.fetch(spec)
			if err != nil || exit.Code != 7 || exit.Ending != "" || !strings.HasSuffix(out, "199999\n200000\n") || strings.Count(out, "\n") != 200000 {
				t.Errorf("got %d bytes of output, %+v, %v; want all and exit code 7", len(out), exit, err)
			}
			h.await("the end of what it said", func() bool { _, err := os.Stat(dir + "/output"); return errors.Is(err, fs.ErrNotExist) })
			if _, _, err := h.fetch(spec); !fault.Is(err, fault.RunLost) || !strings.Contains(err.Error(), "given out") {
				t.Errorf("after it was given out: %v, want RunLost", err)
			}
		})
	}
}

// What the disk has of an end decides, not what the record of the run says.
func TestEndOfARunIsKnownOnlyIfItIsWhole(t *testing.T) {
	edit := func(name string, change func([]byte) []byte) func(dir string) error {
		return func(dir string) error {
			name := filepath.Join(dir, name)
			b, err := os.ReadFile(name)
			if err != nil {
				return err
			}
			return os.WriteFile(name, change(b), 0o600)
		}
	}
	const log = "output/0000000000000000.log"
	for _, tt := range []struct {
		name  string
		spoil func(dir string) error
		lost  bool
	}{
		{"the daemon died before the record said so", edit("run.json", func(b []byte) []byte { return bytes.Replace(b, []byte(`"ended"`), []byte(`"running"`), 1) }), false},
		{"the record is torn", edit("run.json", func(b []byte) []byte { return b[:len(b)/2] }), false},
		{"the record is empty", edit("run.json", func([]byte) []byte { return nil }), false},
		{"zeros behind the end", edit(log, func(b []byte) []byte { return append(b, make([]byte, 4096)...) }), false},
		{"the end is torn", edit(log, func(b []byte) []byte { return b[:len(b)-1] }), true},
		{"the end is missing, and the record is torn", func(dir string) error {
			return errors.Join(edit(log, func(b []byte) []byte { return b[:len(b)-10] })(dir), edit("run.json", func(b []byte) []byte { return b[:1] })(dir))
		}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := newHost(t)
			l := h.lease("a")
			spec, dir := h.abandon(l, "echo built; exit 7", true)
			h.killDaemon()
			if err := tt.spoil(dir); err != nil {
				t.Fatal(err)
			}
			for range 2 { // the second daemon dies too
				exit, out, err := h.fetchAndKill(spec)
				if out != "built\n" {
					t.Errorf("output is %q", out)
				}
				if tt.lost != fault.Is(err, fault.RunLost) || !tt.lost && (err != nil || exit.Code != 7) {
					t.Errorf("got %+v, %v; want that it is lost: %t", exit, err, tt.lost)
				}
			}
			if runs := must[wire.LeaseList](h, wire.MethodLeaseList, nil).Leases[0].Runs; runs != 0 {
				t.Errorf("%d runs live on", runs)
			}
		})
	}
}

// fetchAndKill comes back to a run, and kills the daemon before it hears that all has arrived.
func (h *host) fetchAndKill(spec wire.RunSpec) (exit runclient.Exit, out string, err error) {
	h.t.Helper()
	conn, err := h.dial(h.t.Context())
	if err != nil {
		h.t.Fatal(err)
	}
	defer conn.Close()
	var joined wire.RunJoined
	if err := conn.Call(wire.MethodRunAttach, wire.RunAttach{RunID: spec.RunID, Lease: spec.Lease}, &joined); err != nil {
		h.t.Fatal(err)
	}
	var dec wire.RecordDecoder
	for {
		f, err := conn.Recv()
		if err != nil {
			h.t.Fatal(err)
		}
		if f.Type != wire.TypeRunLog {
			continue
		}
		_, b, err := f.Log()
		if err != nil {
			h.t.Fatal(err)
		}
		_, _ = dec.Write(b)
		for {
			r, _, ok, err := dec.Next()
			if err != nil {
				h.t.Fatal(err)
			}
			if !ok {
				break
			}
			if r.Kind == wire.RecordStdout {
				out += string(r.Payload)
			}
			if r.Kind == wire.RecordExit {
				if err := wire.Unmarshal(r.Payload, &exit); err != nil {
					h.t.Fatal(err)
				}
				h.killDaemon()
				return exit, out, exit.Fault.Err()
			}
		}
	}
}

func TestWhatIsLeftOfARunMaySayItsWord(t *testing.T) {
	h := newHost(t)
	h.lease("a")
	// As bash does for "exec > >(tee log)": what it writes comes when its input has ended, late.
	script := `mkfifo p; (cat >all; sleep 0.3; cat all; echo late >&2) <p & exec >p; seq 1 5; exit 3`
	got := h.run(sh(script), runclient.Streams{}, runclient.Options{})
	if got.outcome() != "exit 3" || got.out != "1\n2\n3\n4\n5\n" || got.errs != "late\n" {
		t.Errorf("got %s, %q, %q, %v", got.outcome(), got.out, got.errs, got.err)
	}
	// One that says nothing more is not waited for, nor one that never ends.
	for _, script := range []string{"sleep 1000 & exit 4", "(while :; do echo x; sleep 0.05; done) & exit 4"} {
		began := time.Now()
		if got := h.run(sh(script), runclient.Streams{}, runclient.Options{}); got.outcome() != "exit 4" {
			t.Errorf("%s: got %s, %v", script, got.outcome(), got.err)
		}
		if took := time.Since(began); took > 40*time.Second {
			t.Errorf("%s: took %s", script, took)
		}
	}
	h.await("the end of the tree", func() bool { return len(h.children()) == 0 })
	// A client that wants it to end is obeyed at once, and what the command said of itself counts.
	spec := h.spec(sh("(while :; do echo x; sleep 0.1; done) & exit 5"))
	spec.Timeout = time.Second
	if got := h.run(spec, runclient.Streams{}, runclient.Options{}); got.outcome() != "exit 5" {
		t.Errorf("with a time limit: got %s, %v", got.outcome(), got.err)
	}
}
