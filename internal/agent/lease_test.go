//go:build linux

package agent_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/machine"
	"outrigger.dev/outrigger/internal/runclient"
	"outrigger.dev/outrigger/internal/version"
	"outrigger.dev/outrigger/internal/wire"
)

func TestInfo(t *testing.T) {
	h := newHost(t)
	info := must[wire.Info](h, wire.MethodInfo, wire.InfoRequest{Root: true})
	if info.Platform != (machine.Platform{OS: "linux", Arch: "amd64"}) || info.Root != h.root || info.FreeBytes <= 0 ||
		info.Home == "" || info.User == "" || info.Hostname == "" || info.Build != version.Version || os.Geteuid() == 0 && !info.MayRoot {
		t.Errorf("info is %+v", info)
	}
}

func TestLeaseBelongsToItsOwner(t *testing.T) {
	h := newHost(t)
	l := h.lease("a")
	if again := h.lease("a"); again.Dir != l.Dir || !again.Created.Equal(l.Created) {
		t.Errorf("asked again: %+v, want the same as %+v", again, l)
	}
	err := h.call(wire.MethodLeaseAcquire, wire.LeaseAcquire{Name: "a", Owner: "else", Expires: time.Now().Add(time.Hour)}, nil)
	if !fault.Is(err, fault.NameTaken) {
		t.Errorf("another owner: %v, want NameTaken", err)
	}
	for _, name := range []string{"", ".", "..", "../x", ".lock", "A", "a/b"} {
		err := h.call(wire.MethodLeaseAcquire, wire.LeaseAcquire{Name: name, Owner: "test"}, nil)
		if !fault.Is(err, fault.Protocol) {
			t.Errorf("lease %q: %v, want Protocol", name, err)
		}
	}
	far := must[wire.Lease](h, wire.MethodLeaseRenew, wire.LeaseRenew{Name: "a", Expires: time.Now().AddDate(10, 0, 0)})
	if far.Expires.After(time.Now().AddDate(0, 2, 0)) {
		t.Errorf("lease until %s, want a bound", far.Expires)
	}
}

func TestSlotsHoldAcrossProcesses(t *testing.T) {
	h := newHost(t)
	const slots, clients = 3, 20
	got := make([]error, clients)
	var tasks sync.WaitGroup
	for i := range clients {
		tasks.Go(func() {
			got[i] = h.call(wire.MethodLeaseAcquire, wire.LeaseAcquire{Name: fmt.Sprintf("l%d", i), Owner: "test", Note: "alice@laptop",
				Expires: time.Now().Add(time.Hour), Slots: slots}, nil)
		})
	}
	tasks.Wait()
	held := must[wire.LeaseList](h, wire.MethodLeaseList, nil).Leases
	for i, err := range got {
		if err == nil {
			continue
		}
		var f *fault.Error
		if !errors.As(err, &f) || f.Kind != fault.NoCapacity || !strings.Contains(f.Text, "3 of 3") || !strings.Contains(f.Detail, "alice@laptop") {
			t.Errorf("client %d: %v, want NoCapacity that names the holders", i, err)
		}
	}
	if len(held) != slots {
		t.Fatalf("%d leases are held, want %d", len(held), slots)
	}
	// One that is released or expired makes room.
	if err := h.call(wire.MethodLeaseRelease, wire.LeaseRelease{Name: held[0].Name}, nil); err != nil {
		t.Fatal(err)
	}
	must[wire.Lease](h, wire.MethodLeaseRenew, wire.LeaseRenew{Name: held[1].Name, Expires: time.Now().Add(-time.Second)})
	for _, name := range []string{"x", "y"} {
		must[wire.Lease](h, wire.MethodLeaseAcquire, wire.LeaseAcquire{Name: name, Owner: "test", Expires: time.Now().Add(time.Hour), Slots: slots})
	}
	if err := h.call(wire.MethodLeaseAcquire, wire.LeaseAcquire{Name: "z", Owner: "test", Slots: slots}, nil); !fault.Is(err, fault.NoCapacity) {
		t.Errorf("one too many: %v, want NoCapacity", err)
	}
}

func TestLinkLeadsIntoTheLeaseAndGoesWithIt(t *testing.T) {
	h := newHost(t)
	a, b := h.lease("a"), h.lease("b")
	base := filepath.Join(t.TempDir(), "at")
	path := filepath.Join(base, "deep", "workspace")
	for range 2 {
		got := must[wire.LinkAnswer](h, wire.MethodLink, wire.LinkRequest{Lease: "a", Path: path, Target: "src"})
		if got.Rewrite || got.Target != filepath.Join(a.Work, "src") {
			t.Errorf("answer is %+v", got)
		}
	}
	if err := os.Mkdir(filepath.Join(a.Work, "src"), 0o700); err != nil {
		t.Fatal(err)
	}
	if got := h.run(wire.RunSpec{Argv: []string{"/bin/sh", "-c", "echo x >" + path + "/y; pwd"}, Dir: path}, runclient.Streams{}, runclient.Options{}); got.out != path+"\n" {
		t.Errorf("a run in the linked folder: %s, %q, %v", got.outcome(), got.out, got.err)
	}
	if _, err := os.Stat(filepath.Join(a.Work, "src", "y")); err != nil {
		t.Error(err)
	}
	for _, tt := range []struct {
		path string
		want fault.Kind
	}{
		{path, fault.Busy},
		{path + "/inside", fault.Busy},
		{filepath.Join(base, "deep"), fault.Busy},
		{"/etc", fault.PathTaken},
		{b.Dir, fault.PathTaken},
		{"/", fault.Usage},
		{"relative", fault.Usage},
	} {
		if err := h.call(wire.MethodLink, wire.LinkRequest{Lease: "b", Path: tt.path}, nil); !fault.Is(err, tt.want) {
			t.Errorf("link %s: %v, want %s", tt.path, err, tt.want)
		}
	}
	if err := h.call(wire.MethodLink, wire.LinkRequest{Lease: "a", Path: base + "2", Target: "../../x"}, nil); !fault.Is(err, fault.Protocol) {
		t.Errorf("target outside: %v, want Protocol", err)
	}
	for _, name := range []string{"a", "b"} {
		if err := h.call(wire.MethodLeaseRelease, wire.LeaseRelease{Name: name}, nil); err != nil {
			t.Error(err)
		}
	}
	if _, err := os.Lstat(base); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("what was made for the link: %v, want it gone", err)
	}
}

func TestReleaseLeavesAForeignPathAlone(t *testing.T) {
	h := newHost(t)
	h.lease("a")
	path := filepath.Join(t.TempDir(), "workspace")
	must[wire.LinkAnswer](h, wire.MethodLink, wire.LinkRequest{Lease: "a", Path: path})
	// Somebody replaces our link by a folder of theirs.
	if err := errors.Join(os.Remove(path), os.Mkdir(path, 0o700), os.WriteFile(path+"/theirs", nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	if err := h.call(wire.MethodLeaseRelease, wire.LeaseRelease{Name: "a"}, nil); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(path + "/theirs"); err != nil {
		t.Error(err)
	}
}

// TestPathIsRewrittenWithoutRoot runs the agent as a user who may not become root.
func TestPathIsRewrittenWithoutRoot(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root to become another user")
	}
	h := newHost(t)
	const nobody = 65534
	// The user must get through to the binary and to its root folder.
	dir, err := os.MkdirTemp("/tmp", "agent-nobody-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	binary := filepath.Join(dir, "outrigger-agent")
	h.root = filepath.Join(dir, "root")
	if out, err := exec.Command("cp", agentBinary, binary).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if err := errors.Join(os.Mkdir(h.root, 0o700), os.Chown(h.root, nobody, nobody), os.Chmod(dir, 0o755)); err != nil {
		t.Fatal(err)
	}
	h.binary, h.user = binary, &syscall.Credential{Uid: nobody, Gid: nobody}
	h.env = append(h.env, "HOME="+dir, "PATH=/usr/bin:/bin")
	t.Cleanup(h.stop)
	l := h.lease("a")
	got := must[wire.LinkAnswer](h, wire.MethodLink, wire.LinkRequest{Lease: "a", Path: "/workspace"})
	if !got.Rewrite || got.Target != l.Work || got.Why == "" {
		t.Errorf("answer is %+v, want that the path is rewritten", got)
	}
	spec := wire.RunSpec{Script: []byte("#!/bin/sh\necho x >/workspace/made\necho $A $1; pwd\n"), Argv: []string{"--out=/workspace/o"},
		Env: []string{"A=/workspace"}, Dir: "/workspace"}
	r := h.run(spec, runclient.Streams{}, runclient.Options{})
	if want := l.Work + " --out=" + l.Work + "/o\n" + l.Work + "\n"; r.out != want || r.err != nil {
		t.Errorf("got %q, %v; want %q", r.out+r.errs, r.err, want)
	}
	if _, err := os.Stat(filepath.Join(l.Work, "made")); err != nil {
		t.Error(err)
	}
}
