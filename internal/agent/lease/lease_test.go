package lease

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"outrigger.dev/outrigger/internal/agent/disk"
	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/wire"
)

func store(t *testing.T) *Store {
	t.Helper()
	root, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	s := Open(disk.Root(root), slog.New(slog.DiscardHandler))
	t.Cleanup(func() {
		if err := s.root.RemoveTmp(t.Context(), func(string) bool { return false }); err != nil {
			t.Error(err)
		}
	})
	return s
}

func request(name string) wire.LeaseAcquire {
	return wire.LeaseAcquire{Name: name, Owner: "owner", Expires: time.Now().Add(time.Hour)}
}

func acquire(t *testing.T, s *Store, name string) wire.Lease {
	t.Helper()
	l, err := s.Acquire(t.Context(), request(name))
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func record(t *testing.T, s *Store, name string) (disk.LeaseDir, disk.Lease) {
	t.Helper()
	dir, err := s.root.Lease(name)
	if err != nil {
		t.Fatal(err)
	}
	rec, err := dir.Read()
	if err != nil {
		t.Fatal(err)
	}
	return dir, rec
}

func names(t *testing.T, s *Store) string {
	t.Helper()
	list, err := s.List()
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, l := range list.Leases {
		all = append(all, l.Name)
	}
	return strings.Join(all, " ")
}

func TestExpiryIsBoundedAndMoves(t *testing.T) {
	s := store(t)
	acquire(t, s, "a")
	for _, tt := range []struct {
		name     string
		in, most time.Duration
	}{
		{"later", 2 * time.Hour, 2 * time.Hour},
		{"in the past", -time.Hour, -time.Hour},
		{"far too late", 1000 * time.Hour * 24, maxLife},
	} {
		l, err := s.Renew(t.Context(), wire.LeaseRenew{Name: "a", Expires: time.Now().Add(tt.in)})
		if left := time.Until(l.Expires); err != nil || left > tt.most || left < tt.most-time.Minute {
			t.Errorf("%s: expires in %s, %v; want %s", tt.name, left, err, tt.most)
		}
	}
	if _, err := s.Renew(t.Context(), wire.LeaseRenew{Name: "none"}); !fault.Is(err, fault.RunLost) {
		t.Errorf("renew of one that is not there: %v", err)
	}
}

// A caller's clock may be days before or behind the machine's: his leases live as long as he says, and he hears
// of them by his clock.
func TestTimesAreByTheCallersClock(t *testing.T) {
	for _, ahead := range []time.Duration{-72 * time.Hour, 0, time.Second, 72 * time.Hour} {
		now := time.Now().Add(-ahead)
		s := store(t)
		his := s.As([]byte("his")).At(now)
		req := request("a")
		req.Expires, req.Held = now.Add(time.Hour), now.Add(time.Minute)
		l, err := his.Acquire(t.Context(), req)
		if err != nil || !near(l.Expires, req.Expires) || !near(l.Held, req.Held) {
			t.Errorf("%s ahead: expires %s, held %s, %v; want %s, %s", ahead, l.Expires, l.Held, err, req.Expires, req.Held)
		}
		acquire(t, s.As([]byte("other")), "b") // whoever comes releases what is over
		list, err := his.List()
		if err != nil || len(list.Leases) != 1 || !near(list.Leases[0].Expires, req.Expires) || !list.Leases[0].Takes(now) {
			t.Errorf("%s ahead: %+v, %v; want the lease, taking a slot", ahead, list.Leases, err)
		}
		l, err = his.Renew(t.Context(), wire.LeaseRenew{Name: "a", Expires: now.Add(-time.Minute)})
		if err != nil || !near(l.Expires, now.Add(-time.Minute)) {
			t.Errorf("%s ahead: renewed until %s, %v", ahead, l.Expires, err)
		}
		acquire(t, s.As([]byte("other")), "c")
		if got := names(t, his); got != "" {
			t.Errorf("%s ahead: %q lives on", ahead, got)
		}
	}
}

func near(got, want time.Time) bool { return got.Sub(want).Abs() < 5*time.Second }

func TestCallersSeeTheirOwn(t *testing.T) {
	s := store(t)
	one, two := s.As([]byte("one")), s.As([]byte("two"))
	acquire(t, one, "a")
	acquire(t, two, "b")
	if got := names(t, one) + "," + names(t, two) + "," + names(t, s) + "," + names(t, s.As(nil)); got != "a,b,a b," {
		t.Errorf("seen: %s", got)
	}
	if _, err := two.Acquire(t.Context(), request("a")); !fault.Is(err, fault.NameTaken) {
		t.Errorf("acquire of another's: %v", err)
	}
	if _, err := two.Living("a"); !fault.Is(err, fault.RunLost) {
		t.Errorf("another's is living: %v", err)
	}
	if _, err := two.Release(t.Context(), wire.LeaseRelease{Name: "a"}); !fault.Is(err, fault.NameTaken) {
		t.Errorf("release of another's: %v", err)
	}
	if !one.Mine("a") || two.Mine("a") || !two.Mine("none") || two.Mine("../a") {
		t.Error("whose they are is wrong")
	}
	if _, err := one.Release(t.Context(), wire.LeaseRelease{Name: "a"}); err != nil {
		t.Error(err)
	}
	// The agent itself releases everything, as when its machine is deleted.
	if _, err := s.Release(t.Context(), wire.LeaseRelease{Name: "b"}); err != nil || names(t, s) != "" {
		t.Errorf("left: %q, %v", names(t, s), err)
	}
}

func TestSlotsCountWhatLivesWhoeverHasIt(t *testing.T) {
	s := store(t)
	req := func(key, name string) error {
		r := request(name)
		r.Slots, r.Note = 2, "alice@laptop"
		_, err := s.As([]byte(key)).Acquire(t.Context(), r)
		return err
	}
	if err := errors.Join(req("one", "a"), req("two", "b")); err != nil {
		t.Fatal(err)
	}
	if err := req("one", "a"); err != nil {
		t.Errorf("one that is held already: %v", err)
	}
	err := req("three", "c")
	var f *fault.Error
	if !errors.As(err, &f) || f.Kind != fault.NoCapacity || !strings.Contains(f.Detail, "alice@laptop") {
		t.Fatalf("one too many: %v", err)
	}
	// One that cannot be read, and in which nothing runs, takes no room.
	dir, _ := record(t, s, "b")
	if err := os.WriteFile(filepath.Join(string(dir), "lease.json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := req("three", "c"); err != nil {
		t.Errorf("beside one that cannot be read: %v", err)
	}
}

// A lease of which only the files stay says so, and takes no slot.
func TestAFullMachineSaysUntilWhen(t *testing.T) {
	s := store(t)
	now := time.Now()
	for name, held := range map[string]time.Time{"idle": now, "there": now.Add(10 * time.Minute), "stays": {}} {
		r := request(name)
		r.Held = held
		if _, err := s.Acquire(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	r := request("next")
	r.Slots = 2
	_, err := s.Acquire(t.Context(), r)
	var f *fault.Error
	if !errors.As(err, &f) || f.Kind != fault.NoCapacity {
		t.Fatalf("one too many: %v, want NoCapacity", err)
	}
	for _, want := range []string{"there    while its client is there, at least until", "stays    until"} {
		if !strings.Contains(f.Detail, want) || strings.Contains(f.Detail, "idle") {
			t.Errorf("%q: want %q, and nothing of the idle one", f.Detail, want)
		}
	}
}

func TestReleaseMayBeRepeatedAndDoneAtOnce(t *testing.T) {
	s := store(t)
	l := acquire(t, s, "a")
	_, rec := record(t, s, "a")
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			if _, err := s.Release(t.Context(), wire.LeaseRelease{Name: "a"}); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	for _, dir := range []string{l.Dir, rec.Tmp} {
		if dir == "" {
			continue // of systems where TMPDIR is in the lease
		}
		if _, err := os.Lstat(dir); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: %v, want it gone", dir, err)
		}
	}
}

// A release is killed after each of its steps; the sweep completes it.
func TestSweepCompletesAReleaseThatWasKilled(t *testing.T) {
	for _, tt := range []struct {
		name string
		kill func(t *testing.T, s *Store, dir disk.LeaseDir, rec disk.Lease) error
	}{
		{"after it was marked", func(_ *testing.T, _ *Store, dir disk.LeaseDir, rec disk.Lease) error {
			rec.Releasing = true
			return dir.Write(rec)
		}},
		{"after its temporary files went", func(_ *testing.T, _ *Store, dir disk.LeaseDir, rec disk.Lease) error {
			rec.Releasing = true
			return errors.Join(dir.Write(rec), os.RemoveAll(rec.Tmp))
		}},
		{"after it was renamed", func(_ *testing.T, s *Store, dir disk.LeaseDir, _ disk.Lease) error {
			return os.Rename(string(dir), filepath.Join(s.root.Leases(), goneName("a")))
		}},
		{"in the middle of the removal", func(_ *testing.T, _ *Store, dir disk.LeaseDir, _ disk.Lease) error {
			return os.Remove(filepath.Join(string(dir), "lease.json"))
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := store(t)
			acquire(t, s, "a")
			acquire(t, s, "b")
			dir, rec := record(t, s, "a")
			if err := tt.kill(t, s, dir, rec); err != nil {
				t.Fatal(err)
			}
			if _, err := s.Sweep(t.Context()); err != nil {
				t.Fatal(err)
			}
			entries, err := os.ReadDir(s.root.Leases())
			if err != nil {
				t.Fatal(err)
			}
			var left []string
			for _, e := range entries {
				left = append(left, e.Name())
			}
			if got := strings.Join(left, " "); got != ".lock b" {
				t.Errorf("left: %s", got)
			}
			if _, err := os.Lstat(rec.Tmp); rec.Tmp != "" && !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("temporary files: %v", err)
			}
			if _, living := record(t, s, "b"); living.Tmp != "" {
				if _, err := os.Lstat(living.Tmp); err != nil {
					t.Errorf("temporary files of another lease: %v", err)
				}
			}
			acquire(t, s, "a")
		})
	}
}

func TestManyAcquireAtOnce(t *testing.T) {
	s := store(t)
	var all sync.WaitGroup
	for i := range 20 {
		all.Go(func() {
			if _, err := s.Acquire(t.Context(), request(fmt.Sprintf("l%d", i%5))); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if got := names(t, s); got != "l0 l1 l2 l3 l4" {
		t.Errorf("leases are %s", got)
	}
}

func TestARecordDoesNotLeadARemovalElsewhere(t *testing.T) {
	s := store(t)
	acquire(t, s, "a")
	dir, rec := record(t, s, "a")
	victim := t.TempDir()
	own := rec.Tmp
	rec.Tmp = victim
	if err := dir.Write(rec); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Release(t.Context(), wire.LeaseRelease{Name: "a", Clean: true}); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(victim); err != nil {
		t.Errorf("a folder that the record names: %v, want it left alone", err)
	}
	if _, err := s.Sweep(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(own); own != "" && !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the lease's own: %v, want it gone", err)
	}
}

// Two containers of a Pod mount the same path, each of a folder of its own: neither was replaced.
func TestAPathOfTwoContainers(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("paths are of the system drive there")
	}
	s := store(t)
	acquire(t, s, "a")
	path := filepath.Join(t.TempDir(), "log")
	check := wire.LinkCheck{}
	for _, target := range []string{"one", "two"} {
		l := wire.LinkRequest{Lease: "a", Path: path, Target: target}
		if _, err := s.Link(t.Context(), l); err != nil {
			t.Fatal(err)
		}
		check.Links = append(check.Links, l)
	}
	if got, err := s.Check(check); err != nil || len(got.Replaced) > 0 {
		t.Errorf("replaced: %v, %v", got.Replaced, err)
	}
	if err := errors.Join(os.Remove(path), os.Mkdir(path, 0o755)); err != nil {
		t.Fatal(err)
	}
	if got, err := s.Check(check); err != nil || len(got.Replaced) != 2 {
		t.Errorf("replaced by a folder: %v, %v, want it twice", got.Replaced, err)
	}
}

func TestAPathIsOneLeases(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("paths are of the system drive there")
	}
	s := store(t)
	acquire(t, s, "a")
	acquire(t, s, "b")
	path := filepath.Join(t.TempDir(), "w")
	if _, err := s.Link(t.Context(), wire.LinkRequest{Lease: "a", Path: path}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Link(t.Context(), wire.LinkRequest{Lease: "b", Path: path}); !fault.Is(err, fault.Busy) {
		t.Errorf("the path of another lease: %v", err)
	}
	if _, err := s.As([]byte("x")).Check(wire.LinkCheck{Links: []wire.LinkRequest{{Lease: "none", Path: path}}}); !fault.Is(err, fault.RunLost) {
		t.Errorf("links of a lease that is not there: %v", err)
	}
	if _, err := s.Release(t.Context(), wire.LeaseRelease{Name: "a"}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Link(t.Context(), wire.LinkRequest{Lease: "b", Path: path}); err != nil {
		t.Errorf("after it was released: %v", err)
	}
}
