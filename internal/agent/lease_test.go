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

	"golang.org/x/sys/unix"

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

// replaceLink has a run do what tar -C / -x does to a link: remove it and make a folder.
func (h *host) replaceLink(path string) {
	h.t.Helper()
	if got := h.run(sh("rm "+path+" && mkdir "+path+" && : >"+path+"/theirs"), runclient.Streams{}, runclient.Options{}); got.outcome() != "exit 0" {
		h.t.Fatal(got.outcome(), got.err)
	}
}

func TestReleaseTellsOfAForeignPathAndLeavesIt(t *testing.T) {
	h := newHost(t)
	h.lease("a")
	path := filepath.Join(t.TempDir(), "deep", "workspace")
	req := wire.LinkRequest{Lease: "a", Path: path}
	must[wire.LinkAnswer](h, wire.MethodLink, req)
	check := wire.LinkCheck{Links: []wire.LinkRequest{req}}
	if got := must[wire.LinkChecked](h, wire.MethodLinkCheck, check); len(got.Replaced) != 0 {
		t.Errorf("replaced before anything ran: %v", got.Replaced)
	}
	h.replaceLink(path)
	if got := must[wire.LinkChecked](h, wire.MethodLinkCheck, check); len(got.Replaced) != 1 || got.Replaced[0] != path {
		t.Errorf("replaced: %v, want %s", got.Replaced, path)
	}
	got := must[wire.LeaseReleased](h, wire.MethodLeaseRelease, wire.LeaseRelease{Name: "a"})
	if len(got.Left) != 2 || !strings.HasPrefix(got.Left[0], path+": ") {
		t.Errorf("left: %q, want the path and the folder made for it", got.Left)
	}
	if _, err := os.Stat(path + "/theirs"); err != nil {
		t.Error(err)
	}
	// Another lease is not told of it, unless the machine is to go to somebody else: then it is removed.
	h.lease("b")
	if got := must[wire.LeaseReleased](h, wire.MethodLeaseRelease, wire.LeaseRelease{Name: "b"}); len(got.Left) != 0 {
		t.Errorf("left of another lease: %q", got.Left)
	}
	if got := must[wire.LeaseReleased](h, wire.MethodLeaseRelease, wire.LeaseRelease{Name: "b", Clean: true}); len(got.Left) != 0 {
		t.Errorf("left of a clean release: %q", got.Left)
	}
	if _, err := os.Lstat(filepath.Dir(path)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("what was put at the path: %v, want it gone", err)
	}
}

func TestACleanReleasePutsPathsRight(t *testing.T) {
	for _, tt := range []struct{ name, script string }{
		{"a folder for the link", `rm $P; mkdir $P; : >$P/x`},
		{"a file for the link", `rm $P; : >$P`},
		{"a link to elsewhere", `rm $P; ln -s /etc $P`},
		{"a file for the folder above", `rm $P; rmdir $(dirname $P); : >$(dirname $P)`},
		{"another file beside the link", `: >$(dirname $P)/beside`},
		{"nothing any more", `rm $P; rmdir $(dirname $P)`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := newHost(t)
			h.lease("a")
			base := filepath.Join(t.TempDir(), "data")
			path := filepath.Join(base, "in")
			must[wire.LinkAnswer](h, wire.MethodLink, wire.LinkRequest{Lease: "a", Path: path})
			spec := sh(tt.script)
			spec.Env = []string{"P=" + path}
			if got := h.run(spec, runclient.Streams{}, runclient.Options{}); got.outcome() != "exit 0" {
				t.Fatal(got.outcome(), got.err, got.errs)
			}
			if got := must[wire.LeaseReleased](h, wire.MethodLeaseRelease, wire.LeaseRelease{Name: "a", Clean: true}); len(got.Left) != 0 {
				t.Errorf("left: %q", got.Left)
			}
			if _, err := os.Lstat(base); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("what was made for the link: %v, want it gone", err)
			}
			if _, err := os.Stat("/etc/passwd"); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestWhatCannotBeRemovedIsToldUntilItIsGone(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root to mount something")
	}
	h := newHost(t)
	h.lease("a")
	path := filepath.Join(t.TempDir(), "workspace")
	must[wire.LinkAnswer](h, wire.MethodLink, wire.LinkRequest{Lease: "a", Path: path})
	h.replaceLink(path)
	if err := syscall.Mount("tmpfs", path, "tmpfs", 0, "size=64k"); err != nil {
		t.Skipf("needs to mount a small file system: %v", err)
	}
	for range 2 { // the answer to the first may have been lost
		got := must[wire.LeaseReleased](h, wire.MethodLeaseRelease, wire.LeaseRelease{Name: "a", Clean: true})
		if len(got.Left) != 1 || !strings.Contains(got.Left[0], "mounted") {
			t.Errorf("left: %q, want what is mounted", got.Left)
		}
	}
	if err := syscall.Unmount(path, 0); err != nil {
		t.Fatal(err)
	}
	if got := must[wire.LeaseReleased](h, wire.MethodLeaseRelease, wire.LeaseRelease{Name: "a", Clean: true}); len(got.Left) != 0 {
		t.Errorf("left: %q", got.Left)
	}
}

func TestOneUnreadableRecordHoldsNobodyUp(t *testing.T) {
	for _, tt := range []struct {
		name  string
		spoil func(dir string) error
	}{
		{"torn", func(dir string) error { return os.WriteFile(dir+"/lease.json", []byte(`{"name": "bad", "own`), 0o600) }},
		{"empty", func(dir string) error { return os.Truncate(dir+"/lease.json", 0) }},
		{"zeros", func(dir string) error { return os.WriteFile(dir+"/lease.json", make([]byte, 300), 0o600) }},
		{"huge", func(dir string) error { return os.Truncate(dir+"/lease.json", 1<<30) }},
		{"of another lease", func(dir string) error { return os.WriteFile(dir+"/lease.json", []byte(`{"name": "a"}`), 0o600) }},
		{"a folder", func(dir string) error {
			return errors.Join(os.Remove(dir+"/lease.json"), os.Mkdir(dir+"/lease.json", 0o700))
		}},
		{"a link to nowhere", func(dir string) error {
			return errors.Join(os.Remove(dir+"/lease.json"), os.Symlink("/no/where", dir+"/lease.json"))
		}},
		{"the lease is a file", func(dir string) error { return errors.Join(os.RemoveAll(dir), os.WriteFile(dir, nil, 0o600)) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := newHost(t)
			h.lease("a")
			bad := h.lease("bad")
			if err := tt.spoil(bad.Dir); err != nil {
				t.Fatal(err)
			}
			h.lease("c")
			list := must[wire.LeaseList](h, wire.MethodLeaseList, nil).Leases
			if len(list) != 2 || list[0].Name != "a" || list[1].Name != "c" {
				t.Errorf("leases are %+v, want a and c", list)
			}
			if got := h.run(wire.RunSpec{Argv: []string{"true"}}, runclient.Streams{}, runclient.Options{}); got.outcome() != "exit 0" {
				t.Errorf("a run in another lease: %s, %v", got.outcome(), got.err)
			}
			h.release("c")
			if out, err := exec.Command(agentBinary, "sweep", "--root", h.root).Output(); err != nil || !strings.Contains(string(out), "lease bad: ") {
				t.Errorf("sweep says %q, %v; want that of the lease", out, err)
			}
			if _, err := os.Lstat(bad.Dir); err != nil {
				t.Errorf("after a sweep: %v, want that it stays for a day", err)
			}
			old := time.Now().Add(-25 * time.Hour)
			if err := errors.Join(os.Chtimes(bad.Dir, old, old), changeTime(bad.Dir+"/lease.json", old)); err != nil {
				t.Fatal(err)
			}
			if out, err := exec.Command(agentBinary, "sweep", "--root", h.root).Output(); err != nil || strings.Contains(string(out), "lease bad: ") {
				t.Errorf("sweep a day later says %q, %v", out, err)
			}
			if _, err := os.Lstat(bad.Dir); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("a day later: %v, want it gone", err)
			}
			h.lease("bad")
		})
	}
}

// changeTime changes the time of a file that may not be there, or be a link to nowhere.
func changeTime(name string, to time.Time) error {
	ts := unix.NsecToTimespec(to.UnixNano())
	err := unix.UtimesNanoAt(unix.AT_FDCWD, name, []unix.Timespec{ts, ts}, unix.AT_SYMLINK_NOFOLLOW)
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) {
		return nil
	}
	return err
}

// release releases a lease of which nothing is left.
func (h *host) release(name string) {
	h.t.Helper()
	if got := must[wire.LeaseReleased](h, wire.MethodLeaseRelease, wire.LeaseRelease{Name: name}); len(got.Left) != 0 {
		h.t.Errorf("release of %s left %q", name, got.Left)
	}
}

func TestAFolderWithoutARecordIsNoLease(t *testing.T) {
	h := newHost(t)
	h.lease("a")
	partial := filepath.Join(h.root, "leases", "partial")
	if err := errors.Join(os.MkdirAll(partial+"/work", 0o700), os.WriteFile(partial+"/work/x", nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	if l := h.lease("partial"); l.Work == "" {
		t.Errorf("lease is %+v", l)
	}
	if _, err := os.Stat(partial + "/work/x"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("what was there before: %v, want it gone", err)
	}
	if err := os.MkdirAll(filepath.Join(h.root, "leases", "other", "runs"), 0o700); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(agentBinary, "sweep", "--root", h.root).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if _, err := os.Stat(filepath.Join(h.root, "leases", "other")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a folder without a record: %v, want it gone", err)
	}
}

func TestTemporaryFilesGoWithTheLease(t *testing.T) {
	h := newHost(t)
	h.lease("a")
	got := h.run(sh("mkdir -p $TMPDIR/x/y; chmod 0 $TMPDIR/x; printf %s $TMPDIR"), runclient.Streams{}, runclient.Options{})
	dir := got.out
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Fatalf("TMPDIR is %q: %v", dir, err)
	}
	// Systems remove what is old in /tmp.
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if got := h.run(sh("mktemp"), runclient.Streams{}, runclient.Options{}); !strings.HasPrefix(got.out, dir) {
		t.Errorf("mktemp says %q, %v; want a file in %s", got.out, got.err, dir)
	}
	// What a killed agent had made and not yet written down.
	lost := dir[:len(dir)-3] + "xyz"
	if err := os.Mkdir(lost, 0o700); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(agentBinary, "sweep", "--root", h.root).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if _, err := os.Stat(lost); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a folder that no lease knows: %v, want it gone", err)
	}
	h.release("a")
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("TMPDIR after the release: %v, want it gone", err)
	}
}

// TestPathIsRewrittenWithoutRoot runs the agent as a user who may not become root.
// newNobody returns a host whose user is not root, and so bound by modes.
func newNobody(t *testing.T) *host {
	t.Helper()
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
	return h
}

func TestPathIsRewrittenWithoutRoot(t *testing.T) {
	h := newNobody(t)
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
