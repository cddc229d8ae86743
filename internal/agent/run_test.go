//go:build linux

package agent_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/runclient"
	"outrigger.dev/outrigger/internal/wire"
)

// outcome says a result in words.
func (r result) outcome() string {
	switch {
	case r.err != nil:
		return string(fault.Of(r.err))
	case r.exit.Signal != "":
		return "signal " + r.exit.Signal
	}
	return fmt.Sprintf("exit %d", r.exit.Code)
}

func TestOutcomes(t *testing.T) {
	h := newHost(t)
	l := h.lease("a")
	if err := os.WriteFile(filepath.Join(l.Work, "plain"), []byte("#!/bin/sh\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(l.Work, "noline"), []byte("\x00garbage"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(l.Work, "sub"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name      string
		spec      wire.RunSpec
		want      string
		out, errs string
	}{
		{"success", sh("echo out; echo err >&2"), "exit 0", "out\n", "err\n"},
		{"its own exit code", sh("exit 3"), "exit 3", "", ""},
		{"a signal of its own", sh("kill -SEGV $$"), "signal SEGV", "", ""},
		{"stdin is at its end", sh("cat; echo done"), "exit 0", "done\n", ""},
		{"script", wire.RunSpec{Script: []byte("#!/bin/sh\necho $# $1\nexit 4\n"), Argv: []string{"x y", "z"}}, "exit 4", "2 x y\n", ""},
		{"script without an interpreter line", wire.RunSpec{Script: []byte("echo x\n")}, "BadScript", "", ""},
		{"script with Windows line ends", wire.RunSpec{Script: []byte("#!/bin/sh\r\necho x\r\n")}, "BadScript", "", ""},
		{"script whose interpreter is not there", wire.RunSpec{Script: []byte("#!/no/such/thing\n")}, "CommandNotFound", "", ""},
		{"command not found", wire.RunSpec{Argv: []string{"no-such-command"}}, "CommandNotFound", "", ""},
		{"path not found", wire.RunSpec{Argv: []string{"./no-such-file"}}, "CommandNotFound", "", ""},
		{"not executable", wire.RunSpec{Argv: []string{"./plain"}}, "NotExecutable", "", ""},
		{"a folder", wire.RunSpec{Argv: []string{"./sub"}}, "NotExecutable", "", ""},
		{"no program at all", wire.RunSpec{Argv: []string{"./noline"}}, "NotExecutable", "", ""},
		{"nothing to do", wire.RunSpec{}, "Usage", "", ""},
		{"found in the PATH that was declared", wire.RunSpec{Argv: []string{"plain2"}, Env: []string{"PATH=/nowhere:" + l.Work}}, "exit 0", "", ""},
		{"declared environment wins", wire.RunSpec{Argv: []string{"/bin/sh", "-c", "echo $A $B"}, Env: []string{"A=1", "B=x=y"}}, "exit 0", "1 x=y\n", ""},
		{"TMPDIR is the lease's, and so short that a socket fits", sh("touch $TMPDIR/x && [ -O $TMPDIR/x ] && [ ${#TMPDIR} -lt 40 ] && stat -c %a $TMPDIR"), "exit 0", "700\n", ""},
		{"begins in the work folder", sh("pwd"), "exit 0", l.Work + "\n", ""},
		{"begins in a folder below it", wire.RunSpec{Argv: []string{"pwd"}, Dir: "sub"}, "exit 0", l.Work + "/sub\n", ""},
		{"begins in an absolute folder", wire.RunSpec{Argv: []string{"pwd"}, Dir: "/"}, "exit 0", "/\n", ""},
		{"begins nowhere", wire.RunSpec{Argv: []string{"pwd"}, Dir: "nowhere"}, "RemoteFile", "", ""},
		{"begins outside", wire.RunSpec{Argv: []string{"pwd"}, Dir: "../../.."}, "Protocol", "", ""},
		{"script that is too long", wire.RunSpec{Script: append([]byte("#!/bin/sh\n"), make([]byte, wire.MaxFrame)...)}, "Usage", "", ""},
		{"lease unknown", wire.RunSpec{Lease: "b", Argv: []string{"true"}}, "RunLost", "", ""},
		{"lease that is none", wire.RunSpec{Lease: "../a", Argv: []string{"true"}}, "Protocol", "", ""},
		{"time limit", wire.RunSpec{Argv: []string{"sleep", "1000"}, Timeout: 10 * time.Millisecond}, "TimedOut", "", ""},
		{"time limit for one that ignores TERM", wire.RunSpec{Argv: []string{"/bin/sh", "-c", "trap '' TERM; while :; do sleep 1000; done"},
			Timeout: 100 * time.Millisecond, KillGrace: 10 * time.Millisecond}, "TimedOut", "", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if err := os.WriteFile(filepath.Join(l.Work, "plain2"), []byte("#!/bin/sh\n"), 0o700); err != nil {
				t.Fatal(err)
			}
			got := h.run(tt.spec, runclient.Streams{}, runclient.Options{})
			want := []string{tt.want, tt.out, tt.errs}
			if diff := cmp.Diff(want, []string{got.outcome(), got.out, got.errs}); diff != "" {
				t.Errorf("(-want +got):\n%s%v", diff, got.err)
			}
		})
	}
}

func TestARunIsStartedOnce(t *testing.T) {
	h := newHost(t)
	l := h.lease("a")
	spec := h.spec(sh("echo x >>started; sleep 1000"))
	var conns []*wire.Conn
	for range 3 {
		conn, err := h.dial(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if err := conn.SendRequest(wire.MethodRunStart, wire.RunStart{Spec: spec}); err != nil {
			t.Fatal(err)
		}
		conns = append(conns, conn)
	}
	answered := 0
	for _, c := range conns {
		// Each takes the run over from the one before, perhaps before that was answered.
		err := c.RecvResponse(nil)
		if err == nil {
			answered++
		} else if !errors.Is(err, io.EOF) {
			t.Error(err)
		}
	}
	if answered == 0 {
		t.Error("nobody was answered")
	}
	started := filepath.Join(l.Work, "started")
	h.await("the run's start", func() bool { b, err := os.ReadFile(started); return err == nil && len(b) > 0 })
	if b, err := os.ReadFile(started); err != nil || string(b) != "x\n" {
		t.Errorf("started: %q, %v; want once", b, err)
	}
	if err := h.call(wire.MethodLeaseRelease, wire.LeaseRelease{Name: "a"}, nil); err != nil {
		t.Fatal(err)
	}
	// A lease of the same name is another lease.
	h.lease("a")
	got := h.run(wire.RunSpec{RunID: "again", Argv: []string{"true"}}, runclient.Streams{}, runclient.Options{})
	if got.outcome() != "exit 0" {
		t.Errorf("got %s, %v", got.outcome(), got.err)
	}
	h.await("the end of what it said", func() bool { _, err := os.Stat(filepath.Join(l.Dir, "runs", "again", "output")); return err != nil })
	got = h.run(wire.RunSpec{RunID: "again", Argv: []string{"true"}}, runclient.Streams{}, runclient.Options{})
	if got.outcome() != "RunLost" {
		t.Errorf("a run that ended and was given out: got %s, want RunLost", got.outcome())
	}
}

func TestOutputIsExactOnBothStreams(t *testing.T) {
	h := newHost(t)
	l := h.lease("a")
	size := 100 << 20
	if raceFlags != nil { // which is ten times slower
		size = 10 << 20
	}
	want := make([]byte, size)
	rand.New(rand.NewSource(1)).Read(want)
	for _, name := range []string{"one", "two"} {
		if err := os.WriteFile(filepath.Join(l.Work, name), want, 0o600); err != nil {
			t.Fatal(err)
		}
		want = append(want[size/2:], want[:size/2]...)
	}
	var out, errs bytes.Buffer
	got := h.run(sh("cat one & cat two >&2; wait"), runclient.Streams{Out: &out, Err: &errs}, runclient.Options{})
	if got.outcome() != "exit 0" {
		t.Fatalf("got %s, %v", got.outcome(), got.err)
	}
	if !bytes.Equal(out.Bytes(), want) {
		t.Errorf("stdout: %d bytes differ from what was said", out.Len())
	}
	if !bytes.Equal(errs.Bytes(), append(want[size/2:size:size], want[:size/2]...)) {
		t.Errorf("stderr: %d bytes differ from what was said", errs.Len())
	}
}

func TestStdinIsExact(t *testing.T) {
	h := newHost(t)
	h.lease("a")
	want := make([]byte, 20<<20)
	rand.New(rand.NewSource(2)).Read(want)
	var out bytes.Buffer
	got := h.run(wire.RunSpec{Argv: []string{"cat"}}, runclient.Streams{In: bytes.NewReader(want), Out: &out}, runclient.Options{})
	if got.outcome() != "exit 0" || !bytes.Equal(out.Bytes(), want) {
		t.Errorf("got %s, %v; %d bytes, want %d", got.outcome(), got.err, out.Len(), len(want))
	}
}

func TestSignalsReachTheWholeTree(t *testing.T) {
	h := newHost(t)
	l := h.lease("a")
	// A child in the group, and one that left the session and was orphaned. Each says what it got.
	script := `trap 'echo main >>got' TERM
		(trap 'echo child >>got; exit' TERM; : >child; while :; do sleep 0.01; done) &
		(setsid sh -c 'trap "echo orphan >>got; exit" TERM; : >orphan; while :; do sleep 0.01; done' &)
		while [ "$(sort got 2>/dev/null | tr -d '\n')" != childmainorphan ]; do sleep 0.01; done
		exit 5`
	signals := make(chan string, 1)
	go func() {
		h.await("the tree", func() bool {
			_, err1 := os.Stat(filepath.Join(l.Work, "child"))
			_, err2 := os.Stat(filepath.Join(l.Work, "orphan"))
			return err1 == nil && err2 == nil
		})
		signals <- "TERM"
	}()
	got := h.run(sh(script), runclient.Streams{Signals: signals}, runclient.Options{})
	if got.outcome() != "exit 5" {
		b, err := os.ReadFile(filepath.Join(l.Work, "got"))
		t.Errorf("got %s, %v; the tree says %q %v", got.outcome(), got.err, b, err)
	}
}

func TestNothingOfTheTreeOutlivesTheMainProcess(t *testing.T) {
	h := newHost(t)
	h.lease("a")
	// In the group; out of the session; orphaned twice; and without the mark in its environment.
	script := `sleep 1000 & setsid sleep 1001 & (setsid sh -c 'sleep 1002 & sleep 1003' &)
		env -i setsid /bin/sleep 1004 & echo started`
	got := h.run(sh(script), runclient.Streams{}, runclient.Options{})
	if got.outcome() != "exit 0" || got.out != "started\n" {
		t.Errorf("got %s %q, %v", got.outcome(), got.out, got.err)
	}
	h.await("the end of the tree", func() bool {
		return len(h.children()) == 0
	})
}

// children lists the children of the daemon.
func (h *host) children() []string {
	var found []string
	dirs, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		h.t.Error(err)
	}
	daemons := map[string]bool{}
	for _, p := range h.processes() {
		if pid, rest, _ := strings.Cut(p, " "); strings.Contains(rest, " daemon ") {
			daemons[pid] = true
		}
	}
	for _, d := range dirs {
		b, err := os.ReadFile(d)
		if err != nil {
			continue // gone
		}
		fields := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
		if len(fields) > 1 && daemons[fields[1]] {
			found = append(found, string(b))
		}
	}
	return found
}

func TestTerminal(t *testing.T) {
	h := newHost(t)
	l := h.lease("a")
	resize := make(chan wire.WinSize, 1)
	go func() {
		h.await("the first size", func() bool { _, err := os.Stat(filepath.Join(l.Work, "first")); return err == nil })
		resize <- wire.WinSize{Cols: 100, Rows: 30}
	}()
	spec := sh(`test -t 0 && test -t 1 && test -t 2 && stty size; : >first
		while [ "$(stty size)" = "24 80" ]; do sleep 0.01; done; stty size; cat; exit 6`)
	spec.TTY = &wire.WinSize{Cols: 80, Rows: 24}
	got := h.run(spec, runclient.Streams{In: strings.NewReader("typed\n"), Resize: resize}, runclient.Options{})
	if got.outcome() != "exit 6" || !strings.HasPrefix(strings.ReplaceAll(got.out, "typed\r\n", ""), "24 80\r\n30 100\r\n") || strings.Count(got.out, "typed") != 2 {
		t.Errorf("got %s, %q, %v", got.outcome(), got.out, got.err)
	}
}

func TestCancelledClientLeavesNothingBehind(t *testing.T) {
	h := newHost(t)
	l := h.lease("a")
	ctx, cancel := context.WithCancelCause(t.Context())
	go func() {
		h.await("the run's start", func() bool { _, err := os.Stat(filepath.Join(l.Work, "started")); return err == nil })
		cancel(fault.New(fault.Interrupted, "enough"))
	}()
	spec := h.spec(sh("trap 'echo asked; exit 9' TERM; : >started; while :; do sleep 0.01; done"))
	var out bytes.Buffer
	exit, err := runclient.Run(ctx, h.dial, spec, runclient.Streams{Out: &out}, runclient.Options{})
	if !fault.Is(err, fault.Interrupted) || !strings.Contains(err.Error(), "enough") {
		t.Errorf("got %v, want the cause of the cancellation", err)
	}
	if exit.Code != 9 || exit.Ending != wire.EndedByClient || out.String() != "asked\n" {
		t.Errorf("exit %+v, output %q: want the run to have been asked", exit, out.String())
	}
}

func TestBrokenStdoutEndsTheRunLikeSIGPIPE(t *testing.T) {
	h := newHost(t)
	h.lease("a")
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	go func() {
		buf := make([]byte, 10)
		_, _ = r.Read(buf) // like head
		r.Close()
	}()
	got := h.run(wire.RunSpec{Argv: []string{"yes"}}, runclient.Streams{Out: w}, runclient.Options{})
	if got.outcome() != "signal PIPE" || got.exit.SigNum != int(syscall.SIGPIPE) {
		t.Errorf("got %s, %v", got.outcome(), got.err)
	}
}
