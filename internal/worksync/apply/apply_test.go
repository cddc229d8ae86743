package apply_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/zeebo/blake3"

	"outrigger.dev/outrigger/internal/worksync/apply"
	"outrigger.dev/outrigger/internal/worksync/names"
	"outrigger.dev/outrigger/internal/worksync/tree"
)

// place is a folder that was scanned.
type place struct {
	*testing.T
	dir  string
	root *tree.Folder
	seen []tree.Node
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func newPlace(t *testing.T, files map[string]string) *place {
	t.Helper()
	p := &place{T: t, dir: t.TempDir()}
	for name, content := range files {
		full := filepath.Join(p.dir, name)
		must(t, os.MkdirAll(filepath.Dir(full), 0o755))
		must(t, os.WriteFile(full, []byte(content), 0o644))
	}
	var err error
	p.root, err = tree.OpenRoot(p.dir)
	must(t, err)
	t.Cleanup(func() { p.root.Close() })
	p.seen, err = tree.Scanner{}.All(t.Context(), p.root)
	must(t, err)
	return p
}

func (p *place) apply(cfg apply.Config, steps func(*apply.Applier) error) (apply.Result, error) {
	cfg.Root, cfg.Seen, cfg.Tag, cfg.Workers = p.root, p.seen, "t", 2
	a := apply.New(p.Context(), cfg)
	err := steps(a)
	var res apply.Result
	if err == nil {
		res, err = a.Finish()
	}
	if cerr := a.Close(); cerr != nil {
		p.Errorf("close: %v", cerr)
	}
	for path := range p.list() {
		if tree.IsTemp(filepath.Base(path)) {
			p.Errorf("left behind: %s", path)
		}
	}
	return res, err
}

// list returns files with their content, folders with "/", links with "-> target".
func (p *place) list() map[string]string {
	p.Helper()
	out := map[string]string{}
	must(p.T, filepath.WalkDir(p.dir, func(path string, d fs.DirEntry, err error) error {
		rel, _ := filepath.Rel(p.dir, path) // both are absolute
		switch {
		case err != nil || path == p.dir:
			return err
		case d.IsDir():
			out[rel] = "/"
		case d.Type() == fs.ModeSymlink:
			target, err := os.Readlink(path)
			out[rel] = "-> " + target
			return err
		default:
			b, err := os.ReadFile(path)
			out[rel] = string(b)
			return err
		}
		return nil
	}))
	return out
}

func (p *place) want(files map[string]string) {
	p.Helper()
	if diff := cmp.Diff(files, p.list()); diff != "" {
		p.Errorf("the folder (-want +got):\n%s", diff)
	}
}

func file(path, content string) tree.Entry {
	return tree.Entry{Path: path, Kind: tree.File, Mode: 0o644, Size: int64(len(content)), MTime: 1e18, Digest: blake3.Sum256([]byte(content))}
}

func write(path, content string) func(*apply.Applier) error {
	return func(a *apply.Applier) error { return a.Write(file(path, content), []byte(content)) }
}

// TestWhatChangedSinceTheScanIsNotTouched changes the folder between scan and
// step, in every way, and tries to step on it.
func TestWhatChangedSinceTheScanIsNotTouched(t *testing.T) {
	for _, tt := range []struct {
		name   string
		before map[string]string
		change func(dir string) error
		step   func(*apply.Applier) error
		after  map[string]string
	}{
		{"edited, to be replaced", map[string]string{"f": "1"},
			func(dir string) error { return os.WriteFile(filepath.Join(dir, "f"), []byte("mine"), 0o644) },
			write("f", "new"), map[string]string{"f": "mine"}},
		{"edited, to be deleted", map[string]string{"f": "1"},
			func(dir string) error { return os.WriteFile(filepath.Join(dir, "f"), []byte("2"), 0o644) },
			func(a *apply.Applier) error { return a.Delete("f") }, map[string]string{"f": "2"}},
		{"appeared where a file is to come", nil,
			func(dir string) error { return os.WriteFile(filepath.Join(dir, "f"), []byte("mine"), 0o644) },
			write("f", "new"), map[string]string{"f": "mine"}},
		{"appeared where a link is to come", nil,
			func(dir string) error { return os.WriteFile(filepath.Join(dir, "f"), []byte("mine"), 0o644) },
			func(a *apply.Applier) error {
				return a.Make(tree.Entry{Path: "f", Kind: tree.Link, Target: "x"})
			}, map[string]string{"f": "mine"}},
		{"appeared where a folder is to come", nil,
			func(dir string) error { return os.WriteFile(filepath.Join(dir, "f"), []byte("mine"), 0o644) },
			func(a *apply.Applier) error {
				return a.Make(tree.Entry{Path: "f", Kind: tree.Dir, Mode: 0o755})
			}, map[string]string{"f": "mine"}},
		{"put into a folder that is to go", map[string]string{"d/f": "1"},
			func(dir string) error { return os.WriteFile(filepath.Join(dir, "d", "g"), []byte("mine"), 0o644) },
			func(a *apply.Applier) error { return errors.Join(a.Delete("d/f"), a.Delete("d")) }, map[string]string{"d": "/", "d/g": "mine"}},
		{"became a link, to be replaced", map[string]string{"f": "1", "victim": "v"},
			func(dir string) error {
				return errors.Join(os.Remove(filepath.Join(dir, "f")), os.Symlink("victim", filepath.Join(dir, "f")))
			},
			write("f", "new"), map[string]string{"f": "-> victim", "victim": "v"}},
		{"its mode is to be set, but it was edited", map[string]string{"f": "1"},
			func(dir string) error { return os.WriteFile(filepath.Join(dir, "f"), []byte("22"), 0o644) },
			func(a *apply.Applier) error { return a.Meta(file("f", "1")) }, map[string]string{"f": "22"}},
		{"a folder on the way became a link", map[string]string{"d/f": "1", "other/f": "1"},
			func(dir string) error {
				return errors.Join(os.RemoveAll(filepath.Join(dir, "d")), os.Symlink("other", filepath.Join(dir, "d")))
			},
			write("d/f", "new"), map[string]string{"d": "-> other", "other": "/", "other/f": "1"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := newPlace(t, tt.before)
			must(t, tt.change(p.dir))
			if res, err := p.apply(apply.Config{}, tt.step); err != nil || len(res.Left) != 1 {
				t.Errorf("got %v, left %v; want one path left", err, res.Left)
			}
			p.want(tt.after)
		})
	}
}

// TestOnePathIsOnePath lets single steps fail in several ways: what needs them
// is not tried, and everything else is done.
func TestOnePathIsOnePath(t *testing.T) {
	p := newPlace(t, map[string]string{"old/a": "1", "old/b": "1", "keep": "1"})
	for name, content := range map[string]string{"dir": "mine", "old/a": "edited"} {
		must(t, os.WriteFile(filepath.Join(p.dir, name), []byte(content), 0o644))
	}
	big := file("dir/big", "12")
	res, err := p.apply(apply.Config{}, func(a *apply.Applier) error {
		return errors.Join(
			a.Delete("old/b"), a.Delete("old/a"), a.Delete("old"), a.Write(file("old", "a file now"), []byte("a file now")),
			a.Make(tree.Entry{Path: "dir", Kind: tree.Dir, Mode: 0o755}),
			a.Write(file("dir/f", "x"), []byte("x")), a.Begin(big), a.Piece([]byte("12")), a.End(big),
			a.Make(tree.Entry{Path: "dir/sub", Kind: tree.Dir, Mode: 0o755}),
			a.Write(file("keep", "2"), []byte("2")), a.Write(file("new", "3"), []byte("3")))
	})
	must(t, err)
	p.want(map[string]string{"old": "/", "old/a": "edited", "dir": "mine", "keep": "2", "new": "3"})
	var left []string
	for _, l := range res.Left {
		left = append(left, l.Path)
	}
	if diff := cmp.Diff([]string{"old/a", "dir"}, left); diff != "" {
		t.Errorf("left (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(map[string]bool{"old": true, "old/a": true}, res.Kept); diff != "" || len(res.Done) != 2 {
		t.Errorf("kept (-want +got):\n%s\ndone %v", diff, res.Done)
	}
}

func TestAFolderThatHoldsMoreStays(t *testing.T) {
	p := newPlace(t, map[string]string{"a/b/f": "1", "a/b/excluded.o": "2", "a/c/g": "3"})
	for i := range p.seen {
		p.seen[i].Holds = p.seen[i].Path == "a/b"
	}
	res, err := p.apply(apply.Config{}, func(a *apply.Applier) error {
		return errors.Join(a.Delete("a/c/g"), a.Delete("a/c"), a.Delete("a/b/f"), a.Delete("a/b"), a.Delete("a"))
	})
	must(t, err)
	p.want(map[string]string{"a": "/", "a/b": "/", "a/b/excluded.o": "2"})
	if diff := cmp.Diff(map[string]bool{"a": true, "a/b": true}, res.Kept); diff != "" || len(res.Warnings) != 1 {
		t.Errorf("kept:\n%s\nwarnings: %q", diff, res.Warnings)
	}
}

func TestLinksThatCannotBeMadeAreNamed(t *testing.T) {
	p := newPlace(t, map[string]string{"was": "a file"})
	res, err := p.apply(apply.Config{Ways: names.Ways{NoLinks: true}}, func(a *apply.Applier) error {
		return errors.Join(a.Make(tree.Entry{Path: "l", Kind: tree.Link, Target: "x"}), a.Make(tree.Entry{Path: "was", Kind: tree.Link, Target: "x"}))
	})
	must(t, err)
	p.want(map[string]string{})
	if len(res.Warnings) != 2 || !strings.Contains(res.Warnings[0], `"l"`) {
		t.Errorf("warnings: %q", res.Warnings)
	}
	if len(res.Done) != 2 || !res.Done[0].Stamp.Absent {
		t.Errorf("done: %+v", res.Done)
	}
	// The next scan does not take their absence for a deletion.
	scan, err := tree.Scanner{}.All(t.Context(), p.root)
	must(t, err)
	nodes, _ := tree.Against(res.Done, scan)
	if len(nodes) != 2 || !nodes[0].Same || !nodes[1].Same {
		t.Errorf("nodes: %+v", nodes)
	}
}

func TestLargeFilesComeWholeOrNotAtAll(t *testing.T) {
	p := newPlace(t, map[string]string{"f": "old"})
	e := file("f", "newer")
	_, err := p.apply(apply.Config{}, func(a *apply.Applier) error {
		return errors.Join(a.Begin(e), a.Piece([]byte("ne")))
	})
	if err == nil {
		t.Error("a file without an end: accepted")
	}
	p.want(map[string]string{"f": "old"})
	res, err := p.apply(apply.Config{}, func(a *apply.Applier) error {
		return errors.Join(a.Begin(e), a.Piece([]byte("wrong")), a.Drop(), a.Begin(e), a.Piece([]byte("ne")), a.Piece([]byte("wer")), a.End(e))
	})
	must(t, err)
	p.want(map[string]string{"f": "newer"})
	fi, err := os.Stat(filepath.Join(p.dir, "f"))
	must(t, err)
	if !fi.ModTime().Equal(time.Unix(0, 1e18)) || res.Done[0].Stamp.Size != 5 {
		t.Errorf("time %v, done %+v", fi.ModTime(), res.Done)
	}
}

func TestModesSurviveTheUmask(t *testing.T) {
	p := newPlace(t, nil)
	e := file("f", "x")
	e.Mode = 0o777
	ro := tree.Entry{Path: "ro", Kind: tree.Dir, Mode: 0o555}
	_, err := p.apply(apply.Config{}, func(a *apply.Applier) error {
		return errors.Join(a.Write(e, []byte("x")), a.Make(ro), a.Make(tree.Entry{Path: "ro/sub", Kind: tree.Dir, Mode: 0o500}), a.Write(file("ro/sub/g", "y"), []byte("y")))
	})
	must(t, err)
	for path, want := range map[string]fs.FileMode{"f": 0o777, "ro": 0o555, "ro/sub": 0o500, "ro/sub/g": 0o644} {
		fi, err := os.Stat(filepath.Join(p.dir, path))
		must(t, err)
		if got := fi.Mode().Perm(); got != want {
			t.Errorf("%s: mode %o, want %o", path, got, want)
		}
	}
	must(t, os.Chmod(filepath.Join(p.dir, "ro"), 0o755))
	must(t, os.Chmod(filepath.Join(p.dir, "ro/sub"), 0o755))
}

func TestCancelledApplierLeavesNothing(t *testing.T) {
	p := newPlace(t, nil)
	ctx, cancel := context.WithCancel(t.Context())
	a := apply.New(ctx, apply.Config{Root: p.root, Tag: "t", Workers: 2})
	must(t, a.Begin(file("f", "xx")))
	cancel()
	if err := a.Piece([]byte("x")); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want cancelled", err)
	}
	must(t, a.Close())
	p.want(map[string]string{})
}

func TestCleanTemp(t *testing.T) {
	p := newPlace(t, map[string]string{"a/.outrigger-tmp-mine-1": "", ".outrigger-tmp-mine-2": "", ".outrigger-tmp-other-1": "x", "a/keep": "y"})
	n, err := apply.CleanTemp(t.Context(), p.dir, "mine")
	must(t, err)
	if n != 2 {
		t.Errorf("removed %d, want 2", n)
	}
	p.want(map[string]string{"a": "/", "a/keep": "y", ".outrigger-tmp-other-1": "x"})
}
