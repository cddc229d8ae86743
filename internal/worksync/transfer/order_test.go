//go:build linux

package transfer_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A scribe changes a folder as a command does, one change after the other, each at another time
// of the file system's clock.
type scribe struct {
	t    *testing.T
	root string
}

// after waits until the file system's clock has moved on.
func (s *scribe) after() {
	s.t.Helper()
	probe := filepath.Join(s.t.TempDir(), "clock")
	touched := func() time.Time {
		if err := os.WriteFile(probe, nil, 0o644); err != nil {
			s.t.Fatal(err)
		}
		if err := os.Chmod(probe, 0o644); err != nil {
			s.t.Fatal(err)
		}
		fi, err := os.Stat(probe)
		if err != nil {
			s.t.Fatal(err)
		}
		return fi.ModTime()
	}
	for first := touched(); !touched().After(first); {
	}
}

// do makes changes: "path" with content, "path -> target", "path/", "-path" (removed), "old => new" (renamed).
func (s *scribe) do(changes ...string) {
	s.t.Helper()
	for _, c := range changes {
		s.after()
		at := func(path string) string { return filepath.Join(s.root, path) }
		var err error
		from, to, renamed := strings.Cut(c, " => ")
		switch {
		case renamed:
			err = os.Rename(at(from), at(to))
		case strings.HasPrefix(c, "-"):
			err = os.RemoveAll(at(c[1:]))
		default:
			if path, _, isLink := strings.Cut(c, " -> "); isLink {
				if err = os.Remove(at(path)); errors.Is(err, fs.ErrNotExist) {
					err = nil
				}
			}
			write(s.t, s.root, map[string]string{c: strings.Repeat(c, 1000)})
		}
		if err != nil {
			s.t.Fatal(err)
		}
	}
}

// TestChangesComeInTheirOrder: whatever says that something else is ready is not seen before it.
func TestChangesComeInTheirOrder(t *testing.T) {
	for name, tt := range map[string]struct {
		before, changes []string
		// seen are those of the changes that show, in the order in which they have to.
		seen []string
	}{
		"a mark that comes first by name":  {changes: []string{"z/data", "y/data", "a-done"}, seen: []string{"z/data", "y/data", "a-done"}},
		"data inside of the mark's folder": {changes: []string{"d/z", "d/a"}, seen: []string{"d/z", "d/a"}},
		"a mark that was renamed into place": {
			changes: []string{".mark.tmp", "z/data", ".mark.tmp => mark"}, seen: []string{"z/data", "mark"},
		},
		"data that was renamed into place": {
			changes: []string{"x.part", "log", "x.part => z-data", "a-done"}, seen: []string{"log", "z-data", "a-done"},
		},
		"a link that is moved on": {
			before: []string{"v1/f", "current -> v1"}, changes: []string{"v2/f", "v2/g", "current -> v2", "after"},
			seen: []string{"v2/f", "v2/g", "current -> v2", "after"},
		},
		"a lock that goes": {before: []string{"x/lock", "x/d"}, changes: []string{"z", "x/d", "-x/lock"}, seen: []string{"z", "x/d", "-x/lock"}},
		"what is cleared away first": {
			before: []string{"out/old", "out/sub/old"}, changes: []string{"-out/old", "-out/sub", "out/new", "ready"},
			seen: []string{"-out/sub/old", "-out/old", "-out/sub", "out/new", "ready"},
		},
		"a folder as a mark": {changes: []string{"z/data", "a.ready/", "later"}, seen: []string{"z/data", "a.ready/", "later"}},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPair(t)
			write(t, p.near, map[string]string{"keep": "1"})
			for _, path := range tt.before {
				write(t, p.near, map[string]string{path: "before"})
			}
			p.mustUp()
			p.run(func() { (&scribe{t, p.far}).do(tt.changes...) })
			want := snapshot(t, p.far)
			var seen []string
			note := func() {
				now := snapshot(t, p.near)
				for _, s := range tt.seen {
					if !slices.Contains(seen, s) && shows(now, want, s) {
						seen = append(seen, s)
					}
				}
			}
			p.turn = func(context.Context, int64) error { note(); return nil }
			p.mustBack()
			note()
			if !slices.Equal(seen, tt.seen) {
				t.Errorf("seen %q, want %q", seen, tt.seen)
			}
			p.wantEqual()
			noTemp(t, p.near, p.far)
		})
	}
}

// shows tells whether a change is to be seen in a snapshot.
func shows(now, want map[string]string, change string) bool {
	if path, gone := strings.CutPrefix(change, "-"); gone {
		return now[path] == ""
	}
	path, _, _ := strings.Cut(strings.TrimSuffix(change, "/"), " -> ")
	return now[path] == want[path]
}

// TestWatcherNeverSeesAMarkWithoutItsData: a program that waits for one of many marks reads all that was
// written before it, while several files are written at a time.
func TestWatcherNeverSeesAMarkWithoutItsData(t *testing.T) {
	p := newPair(t)
	p.mustUp()
	random := rand.New(rand.NewPCG(7, 7))
	const parts, each = 20, 40
	p.run(func() {
		s := &scribe{t, p.far}
		for part := range parts {
			dir := fmt.Sprintf("%c/%d", 'b'+rune(random.IntN(20)), part)
			for i := range each {
				write(t, p.far, map[string]string{fmt.Sprintf("%s/%d", dir, i): strings.Repeat("x", random.IntN(30_000))})
			}
			s.after()
			write(t, p.far, map[string]string{fmt.Sprintf("a/done-%02d", part): dir})
			s.after()
		}
	})
	want := snapshot(t, p.far)
	stop, watched := make(chan struct{}), make(chan error, 1)
	go func() { watched <- watch(p.near, want, stop) }()
	p.mustBack()
	close(stop)
	if err := <-watched; err != nil {
		t.Error(err)
	}
	p.wantEqual()
	var last syscall.Timespec
	for part := range parts {
		fi, err := os.Stat(filepath.Join(p.near, fmt.Sprintf("a/done-%02d", part)))
		if err != nil {
			t.Fatal(err)
		}
		at := fi.Sys().(*syscall.Stat_t).Ctim
		if at.Nano() < last.Nano() {
			t.Errorf("mark %d came before the one before it", part)
		}
		last = at
	}
}

// watch looks for marks, and when it sees a new one for what it names.
func watch(root string, want map[string]string, stop chan struct{}) error {
	known := map[string]bool{}
	for last := false; ; {
		marks, err := filepath.Glob(filepath.Join(root, "a", "done-*"))
		if err != nil {
			return err
		}
		for _, mark := range marks {
			if known[mark] {
				continue
			}
			known[mark] = true
			dir, err := os.ReadFile(mark)
			if err != nil {
				return err
			}
			for path := range want {
				if !strings.HasPrefix(path, string(dir)+"/") {
					continue
				}
				if _, err := os.Stat(filepath.Join(root, path)); err != nil {
					return fmt.Errorf("%s is there, and %s not", filepath.Base(mark), path)
				}
			}
		}
		if last {
			return nil
		}
		select {
		case <-stop:
			last = true
		default:
		}
	}
}
