package tree_test

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"outrigger.dev/outrigger/internal/worksync/ignore"
	"outrigger.dev/outrigger/internal/worksync/tree"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func open(t *testing.T, dir string) *tree.Folder {
	t.Helper()
	root, err := tree.OpenRoot(dir)
	must(t, err)
	t.Cleanup(func() { root.Close() })
	return root
}

func TestScanVisitsInOrderAndFollowsNothing(t *testing.T) {
	dir := t.TempDir()
	for _, d := range []string{"a", "a/b", "a-b", "x.d", "skip"} {
		must(t, os.Mkdir(filepath.Join(dir, d), 0o755))
	}
	for _, f := range []string{"a/z", "a/b/c", "a.txt", "skip/s", "x.d/o.o", ".outrigger-tmp-t-1"} {
		must(t, os.WriteFile(filepath.Join(dir, f), []byte(f), 0o640))
	}
	must(t, os.Symlink("/", filepath.Join(dir, "root")))
	must(t, os.Symlink("nowhere", filepath.Join(dir, "a-b", "dangling")))
	m, err := ignore.Parse([]string{"skip/", "*.o"})
	must(t, err)
	nodes, err := tree.Scanner{Ignore: m}.All(t.Context(), open(t, dir))
	must(t, err)
	var got []string
	for _, n := range nodes {
		line := n.Kind.String() + " " + n.Path
		if n.Target != "" {
			line += " -> " + n.Target
		}
		if n.Holds {
			line += " (holds more)"
		}
		got = append(got, line)
	}
	want := []string{"folder a", "folder a/b", "file a/b/c", "file a/z", "folder a-b", "link a-b/dangling -> nowhere", "file a.txt", "link root -> /", "folder x.d (holds more)"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("scan (-want +got):\n%s", diff)
	}
	if !slices.IsSortedFunc(nodes, func(a, b tree.Node) int { return tree.Compare(a.Path, b.Path) }) {
		t.Error("not in the order of Compare")
	}
}

func TestUnchangedFilesAreKnownByTheirStamps(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "f")
	must(t, os.WriteFile(path, []byte("one"), 0o644))
	old := time.Now().Add(-time.Hour)
	must(t, os.Chtimes(path, time.Time{}, old))
	root := open(t, dir)
	later := tree.Scanner{Now: func() time.Time { return time.Now().Add(time.Minute) }}
	base, err := later.All(t.Context(), root)
	must(t, err)
	must(t, tree.Sum(t.Context(), root, base, []int{0}, 1))
	base[0].Stamp.Racy = false // as a scan a minute later finds it
	base[0].MTime = 42         // what was agreed on need not be what the disk says
	base[0].Mode = 0o755

	nodes, doubtful := tree.Against(base, scan(t, root))
	if len(doubtful) > 0 || !nodes[0].Same || nodes[0].Entry != base[0].Entry {
		t.Errorf("unchanged, but %+v, doubtful %v", nodes, doubtful)
	}

	must(t, os.WriteFile(path, []byte("two"), 0o644))
	must(t, os.Chtimes(path, time.Time{}, old))
	if runtime.GOOS == "windows" {
		return // there only size and time can tell, see stamp_windows.go
	}
	nodes, doubtful = tree.Against(base, scan(t, root))
	if !slices.Equal(doubtful, []int{0}) {
		t.Errorf("changed at the same size and time, but doubtful are %v", doubtful)
	}
	must(t, tree.Sum(t.Context(), root, nodes, doubtful, 1))
	tree.Settle(base[0], &nodes[0])
	if nodes[0].Same || nodes[0].MTime != 42 || nodes[0].Mode != 0o755 {
		t.Errorf("only the content changed, but %+v", nodes[0])
	}

	racy := slices.Clone(base)
	racy[0].Stamp = scan(t, root)[0].Stamp
	racy[0].Stamp.Racy = true
	if _, doubtful = tree.Against(racy, scan(t, root)); len(doubtful) != 1 {
		t.Error("a stamp that is not certain was believed")
	}
}

func scan(t *testing.T, root *tree.Folder) []tree.Node {
	t.Helper()
	nodes, err := tree.Scanner{}.All(t.Context(), root)
	must(t, err)
	return nodes
}

func TestFolderIsNeverReachedThroughALink(t *testing.T) {
	dir := t.TempDir()
	must(t, os.MkdirAll(filepath.Join(dir, "real", "sub"), 0o755))
	must(t, os.WriteFile(filepath.Join(dir, "real", "f"), nil, 0o644))
	must(t, os.Symlink("real", filepath.Join(dir, "link")))
	must(t, os.Symlink("real/f", filepath.Join(dir, "flink")))
	root := open(t, dir)
	c := tree.NewCursor(root)
	defer c.Close()
	for _, path := range []string{"link", "link/sub", "real/f"} {
		if _, err := c.Folder(path); !errors.Is(err, tree.ErrNotFolder) {
			t.Errorf("Folder(%q): %v, want ErrNotFolder", path, err)
		}
	}
	if _, _, err := root.OpenFile("flink"); !errors.Is(err, tree.ErrNotFile) {
		t.Errorf("OpenFile(flink): %v, want ErrNotFile", err)
	}
	for _, path := range []string{"real/sub", "", "real", "real/sub"} {
		if f, err := c.Folder(path); err != nil || f.Path != path {
			t.Errorf("Folder(%q): %v", path, err)
		}
	}
}

func TestCheckPath(t *testing.T) {
	for _, ok := range []string{"a", "a/b", "..a", "a..", "\xff", strings.Repeat("x", 4096)} {
		if err := tree.CheckPath(ok); err != nil && runtime.GOOS != "windows" {
			t.Errorf("CheckPath(%.20q): %v", ok, err)
		}
	}
	bad := []string{"", "/", "/a", "a/", "a//b", ".", "..", "a/..", "../a", "a/./b", "a\x00", tree.TempPrefix + "x", "a/" + tree.TempPrefix, strings.Repeat("x", 4097)}
	if runtime.GOOS == "windows" {
		bad = append(bad, `a\b`, `..\a`, `c:a`, `a:stream`, "aux", "a/NUL.txt", "a.", "a ")
	}
	for _, path := range bad {
		if err := tree.CheckPath(path); !errors.Is(err, tree.ErrPath) {
			t.Errorf("CheckPath(%.20q): %v, want ErrPath", path, err)
		}
	}
}

func TestCompareIsTheOrderOfAWalk(t *testing.T) {
	want := []string{"a", "a/b", "a/b/c", "a/c", "a b", "a-b", "a.b", "a0", "b"}
	got := slices.Clone(want)
	slices.Reverse(got)
	slices.SortFunc(got, tree.Compare)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// FuzzDecoder holds that bytes from the other side never make the decoder
// panic, and that what it accepts is fit to be used and encodes again.
func FuzzDecoder(f *testing.F) {
	var enc tree.Encoder
	var b []byte
	for _, e := range []tree.Entry{
		{Path: "a", Kind: tree.Dir, Mode: 0o755},
		{Path: "a/f", Kind: tree.File, Mode: 0o644, Size: 5, MTime: -7, Digest: tree.Digest{1}},
		{Path: "a/g", Kind: tree.File, Size: 1 << 40},
		{Path: "a/l", Kind: tree.Link, Target: "../x"},
		{Path: "p", Kind: tree.Special},
	} {
		b = enc.Append(b, &e)
	}
	f.Add(b)
	f.Fuzz(func(t *testing.T, in []byte) {
		d := tree.NewDecoder(in)
		var all []tree.Entry
		for d.More() {
			e, err := d.Entry()
			if err != nil {
				break
			}
			if err := tree.CheckPath(e.Path); err != nil {
				t.Fatal(err)
			}
			all = append(all, e)
		}
		var enc tree.Encoder
		var out []byte
		for i := range all {
			out = enc.Append(out, &all[i])
		}
		again := tree.NewDecoder(out)
		for i := range all {
			e, err := again.Entry()
			if err != nil || e != all[i] {
				t.Fatalf("entry %d: %+v became %+v, %v", i, all[i], e, err)
			}
		}
	})
}
