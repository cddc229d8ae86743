//go:build linux

package agent_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/runclient"
	"outrigger.dev/outrigger/internal/wire"
)

// killDaemon kills it as nothing can be prepared for.
func (h *host) killDaemon() {
	h.t.Helper()
	killed := false
	for _, p := range h.processes() {
		word, rest, _ := strings.Cut(p, " ")
		if !strings.Contains(rest, " daemon ") {
			continue
		}
		pid, err := strconv.Atoi(word)
		if err == nil {
			err = syscall.Kill(pid, syscall.SIGKILL)
		}
		if err != nil {
			h.t.Fatal(err)
		}
		killed = true
		h.await("the daemon's death", func() bool {
			b, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
			return err != nil || len(b) == 0
		})
	}
	if !killed {
		h.t.Fatal("no daemon to kill")
	}
}

// leaveRunning starts a run whose tree says what it is, and leaves it alone.
func (h *host) leaveRunning(l wire.Lease) {
	h.t.Helper()
	conn, err := h.dial(h.t.Context())
	if err != nil {
		h.t.Fatal(err)
	}
	defer conn.Close()
	spec := h.spec(sh(": >one; sleep 1000 & setsid sh -c ': >two; sleep 1001' & (setsid setsid sleep 1002 &); echo said; wait"))
	spec.Lease = l.Name
	if err := conn.Call(wire.MethodRunStart, wire.RunStart{Spec: spec}, nil); err != nil {
		h.t.Fatal(err)
	}
	h.await("the tree", func() bool {
		_, err1 := os.Stat(filepath.Join(l.Work, "one"))
		_, err2 := os.Stat(filepath.Join(l.Work, "two"))
		return err1 == nil && err2 == nil
	})
}

func TestSweepEndsWhatADeadDaemonLeft(t *testing.T) {
	h := newHost(t)
	h.leaveRunning(h.lease("a"))
	h.killDaemon()
	out, err := exec.Command(agentBinary, "sweep", "--root", h.root).Output()
	if err != nil || string(out) != "released 0 leases, ended 1 runs\n" {
		t.Errorf("sweep says %q, %v", out, err)
	}
	if left := h.processes(); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
	if got := must[wire.LeaseList](h, wire.MethodLeaseList, nil); len(got.Leases) != 1 || got.Leases[0].Runs != 0 {
		t.Errorf("leases are %+v, want one without runs", got.Leases)
	}
	if err := os.Remove(h.socket()); err != nil {
		t.Error(err)
	}
}

// socket is the daemon's.
func (h *host) socket() string {
	h.t.Helper()
	names, err := filepath.Glob(filepath.Join(h.root, "daemon", "*", "socket"))
	if err != nil || len(names) != 1 {
		h.t.Fatalf("sockets are %v, %v", names, err)
	}
	return names[0]
}

func TestClientLearnsThatItsDaemonDied(t *testing.T) {
	h := newHost(t)
	l := h.lease("a")
	var out bytes.Buffer
	w := writerFunc(func(b []byte) (int, error) {
		if out.Len() == 0 {
			h.killDaemon()
		}
		return out.Write(b)
	})
	// What was said before the death and not yet sent comes too.
	exit, err := runclient.Run(t.Context(), h.dial, h.spec(sh("echo one; : >x; sleep 1000")), runclient.Streams{Out: w}, runclient.Options{})
	if !fault.Is(err, fault.RunLost) || !strings.HasPrefix(out.String(), "one\n") || exit.Ending != wire.EndedByFault {
		t.Errorf("got %q, %+v, %v; want RunLost", out.String(), exit, err)
	}
	if runs := must[wire.LeaseList](h, wire.MethodLeaseList, nil).Leases[0].Runs; runs != 0 {
		t.Errorf("%d runs live on", runs)
	}
	if _, err := os.Stat(filepath.Join(l.Work, "x")); err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}

func TestReleaseEndsEverything(t *testing.T) {
	h := newHost(t)
	l := h.lease("a")
	h.leaveRunning(l)
	spec := h.spec(sh("mkdir -p ro/deep; : >ro/deep/file; chmod 0 ro/deep; chmod 0500 ro; sleep 1000"))
	released := make(chan error, 1)
	go func() {
		h.await("the folders", func() bool {
			info, err := os.Stat(filepath.Join(l.Work, "ro"))
			return err == nil && info.Mode().Perm() == 0o500
		})
		released <- h.call(wire.MethodLeaseRelease, wire.LeaseRelease{Name: "a"}, nil)
	}()
	exit, err := runclient.Run(t.Context(), h.dial, spec, runclient.Streams{}, runclient.Options{})
	if !fault.Is(err, fault.RunLost) || exit.Ending != wire.EndedByRelease {
		t.Errorf("the run's client got %+v, %v; want that the lease was released", exit, err)
	}
	if err := <-released; err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(l.Dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the lease's folder: %v, want it gone", err)
	}
	if err := h.call(wire.MethodLeaseRelease, wire.LeaseRelease{Name: "a"}, nil); err != nil {
		t.Errorf("release again: %v", err)
	}
	entries, err := os.ReadDir(filepath.Join(h.root, "leases"))
	if err != nil || len(entries) != 1 || entries[0].Name() != ".lock" {
		t.Errorf("left in leases: %v, %v", entries, err)
	}
}

func TestReleaseWithADeadDaemon(t *testing.T) {
	h := newHost(t)
	h.leaveRunning(h.lease("a"))
	h.killDaemon()
	if err := h.call(wire.MethodLeaseRelease, wire.LeaseRelease{Name: "a"}, nil); err != nil {
		t.Error(err)
	}
	if left := h.processes(); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
	if err := os.Remove(h.socket()); err != nil {
		t.Error(err)
	}
}

func TestSweepReleasesExpiredLeases(t *testing.T) {
	h := newHost(t)
	h.leaveRunning(h.lease("a"))
	h.lease("b")
	must[wire.Lease](h, wire.MethodLeaseRenew, wire.LeaseRenew{Name: "a", Expires: time.Now().Add(-time.Second)})
	out, err := exec.Command(agentBinary, "sweep", "--root", h.root).Output()
	if err != nil || string(out) != "released 1 leases, ended 0 runs\n" {
		t.Errorf("sweep says %q, %v", out, err)
	}
	if got := must[wire.LeaseList](h, wire.MethodLeaseList, nil); len(got.Leases) != 1 || got.Leases[0].Name != "b" {
		t.Errorf("leases are %+v, want b", got.Leases)
	}
}

func TestInterruptedReleaseIsCompleted(t *testing.T) {
	h := newHost(t)
	l := h.lease("a")
	name := filepath.Join(l.Dir, "lease.json")
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, bytes.Replace(b, []byte(`"name"`), []byte(`"releasing": true, "name"`), 1), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, d := range []string{".gone-x", ".new-y"} {
		if err := os.Mkdir(filepath.Join(h.root, "leases", d), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	err = h.call(wire.MethodLeaseRenew, wire.LeaseRenew{Name: "a", Expires: time.Now().Add(time.Hour)}, nil)
	if !fault.Is(err, fault.RunLost) {
		t.Errorf("renew of a lease that is being released: %v, want RunLost", err)
	}
	if out, err := exec.Command(agentBinary, "sweep", "--root", h.root).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	entries, err := os.ReadDir(filepath.Join(h.root, "leases"))
	if err != nil || len(entries) != 1 {
		t.Errorf("left in leases: %v, %v", entries, err)
	}
}

func TestDaemonEndsWhenIdle(t *testing.T) {
	h := newHost(t)
	h.idle = 50 * time.Millisecond
	h.lease("a")
	if got := h.run(sh("exit 3"), runclient.Streams{}, runclient.Options{}); got.outcome() != "exit 3" {
		t.Errorf("got %s, %v", got.outcome(), got.err)
	}
	h.await("the daemon's end", func() bool { return len(h.processes()) == 0 })
	if names, err := filepath.Glob(filepath.Join(h.root, "daemon", "*", "socket")); err != nil || len(names) != 0 {
		t.Errorf("sockets left: %v, %v", names, err)
	}
	// And the next run starts another.
	if got := h.run(sh("exit 4"), runclient.Streams{}, runclient.Options{}); got.outcome() != "exit 4" {
		t.Errorf("got %s, %v", got.outcome(), got.err)
	}
}

func TestDiskFullEndsTheRunAndLosesNothing(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root for a small file system")
	}
	h := newHost(t)
	small := t.TempDir()
	if err := syscall.Mount("tmpfs", small, "tmpfs", 0, "size=4m"); err != nil {
		t.Skipf("needs to mount a small file system: %v", err)
	}
	t.Cleanup(func() {
		// A process that ended lets go of its folder a moment after its memory.
		h.await("the file system to be let go of", func() bool { return syscall.Unmount(small, 0) == nil })
	})
	h.root = small
	t.Cleanup(h.stop)
	h.lease("a")
	var n int
	hold := make(chan struct{})
	// The client takes nothing until the disk is full.
	w := writerFunc(func(b []byte) (int, error) {
		select {
		case <-hold:
		default:
			h.await("the program's end", func() bool {
				for _, p := range h.processes() {
					if strings.Contains(p, "yes") {
						return false
					}
				}
				return true
			})
			close(hold)
		}
		n += len(b)
		if strings.Trim(string(b), "y\n") != "" {
			t.Errorf("output holds %q", b)
		}
		return len(b), nil
	})
	exit, err := runclient.Run(t.Context(), h.dial, h.spec(wire.RunSpec{Argv: []string{"yes"}}), runclient.Streams{Out: w}, runclient.Options{})
	if !fault.Is(err, fault.DiskFull) || exit.Ending != wire.EndedByFault {
		t.Errorf("got %+v, %v; want DiskFull", exit, err)
	}
	if n < 3<<20 {
		t.Errorf("%d bytes came, want what the disk had and more", n)
	}
	// A full disk must not keep a lease from being released.
	if err := h.call(wire.MethodLeaseRelease, wire.LeaseRelease{Name: "a"}, nil); err != nil {
		t.Errorf("release: %v", err)
	}
}
