package transfer_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/worksync/transfer"
	"outrigger.dev/outrigger/test/soak"
)

// The model is a dumb sync: trees are maps from path to all there is to know,
// merged path by path on whole contents. It shares nothing with the real one.

type thing struct {
	kind  string // file, dir, link
	body  string // content or target
	mode  os.FileMode
	mtime int64
}

type world map[string]thing

func look(t *testing.T, root string) world {
	t.Helper()
	w := world{}
	for path, what := range snapshot(t, root) {
		full := filepath.Join(root, path)
		fi, err := os.Lstat(full)
		if err != nil {
			t.Fatal(err)
		}
		switch kind, rest, _ := strings.Cut(what, " "); kind {
		case "link":
			w[path] = thing{kind: "link", body: rest}
		case "dir":
			w[path] = thing{kind: "dir", mode: fi.Mode().Perm()}
		default:
			b, err := os.ReadFile(full)
			if err != nil {
				t.Fatal(err)
			}
			w[path] = thing{kind: "file", body: string(b), mode: fi.Mode().Perm(), mtime: fi.ModTime().UnixNano()}
		}
	}
	return w
}

func (a thing) sameStuff(b thing) bool { return a.kind == b.kind && a.body == b.body }

// merge returns the tree that both sides should come to, or the conflicts.
func merge(base, near, far world) (world, map[string]bool) {
	out, conflicts := world{}, map[string]bool{}
	all := map[string]bool{}
	for _, w := range []world{base, near, far} {
		for p := range w {
			all[p] = true
		}
	}
	for p := range all {
		b, inB := base[p]
		n, inN := near[p]
		f, inF := far[p]
		m, keep, ok := mergeOne(b, inB, n, inN, f, inF)
		switch {
		case !ok:
			conflicts[p] = true
		case keep:
			out[p] = m
		}
	}
	// No entry without its folder.
	paths := make([]string, 0, len(out))
	for p := range out {
		paths = append(paths, p)
	}
	sort.Sort(sort.Reverse(sort.StringSlice(paths)))
	for i := 0; i < len(paths); i++ {
		dir := filepath.Dir(paths[i])
		if dir == "." {
			continue
		}
		m, ok := out[dir]
		switch {
		case ok && m.kind != "dir":
			conflicts[dir] = true
		case !ok && near[dir].kind == "dir":
			out[dir] = near[dir]
			paths = append(paths, dir)
		case !ok && far[dir].kind == "dir":
			out[dir] = far[dir]
			paths = append(paths, dir)
		}
	}
	return out, conflicts
}

func mergeOne(b thing, inB bool, n thing, inN bool, f thing, inF bool) (m thing, keep, ok bool) {
	changed := func(x thing, in bool) bool { return in != inB || in && (!x.sameStuff(b) || x.mode != b.mode) }
	switch {
	case !inN && !inF:
		return m, false, true
	case inN && inF && n.sameStuff(f):
		m = n
		if !inB || b.kind != n.kind {
			return m, true, true
		}
		switch {
		case n.mode == f.mode:
		case n.mode == b.mode:
			m.mode = f.mode
		case f.mode == b.mode:
		default:
			return m, true, false
		}
		if n.mtime == b.mtime {
			m.mtime = f.mtime
		}
		return m, true, true
	case !changed(n, inN):
		return f, inF, true
	case !changed(f, inF):
		return n, inN, true
	case inB && inN && inF && b.kind == "file" && n.kind == "file" && f.kind == "file":
		switch {
		case f.sameStuff(b): // mode there, content here
			m = n
			if n.mode == b.mode {
				m.mode = f.mode
			} else if f.mode != n.mode && f.mode != b.mode {
				return m, true, false
			}
			return m, true, true
		case n.sameStuff(b):
			m = f
			if f.mode == b.mode {
				m.mode = n.mode
			} else if f.mode != n.mode && n.mode != b.mode {
				return m, true, false
			}
			return m, true, true
		}
		return m, true, false
	case inB && inN != inF && b.kind != n.kind && b.kind != f.kind: // gone for good, and one new thing
		if inN {
			return n, true, true
		}
		return f, true, true
	}
	return m, false, false
}

// restDir is the folder that edits leave alone, and that moves while an operation is under way.
const restDir = "~rest"

func resting(p string) bool { return p == restDir || strings.HasPrefix(p, restDir+"/") }

// edit changes a tree at random, also in ways that a scan must look twice at.
func edit(t *testing.T, r *rand.Rand, root string, times int) {
	t.Helper()
	for range times {
		paths := slices.DeleteFunc(sortedPaths(t, root), resting)
		pick := func() string {
			if len(paths) == 0 || r.IntN(3) == 0 {
				return randomName(r)
			}
			return paths[r.IntN(len(paths))]
		}
		p := filepath.Join(root, pick())
		if throughLink(root, p) || os.MkdirAll(filepath.Dir(p), 0o755) != nil {
			continue
		}
		fi, err := os.Lstat(p)
		exists := err == nil
		isDir := exists && fi.IsDir()
		isFile := exists && fi.Mode().IsRegular()
		switch r.IntN(10) {
		case 0, 1, 2: // write
			if isDir {
				p = filepath.Join(p, randomName(r))
			}
			if !throughLink(root, p) {
				put(t, r, p)
			}
		case 3:
			if isFile { // same size, same time: only the inode's change time tells
				b, err := os.ReadFile(p)
				must(t, err)
				if len(b) > 0 {
					b[r.IntN(len(b))] ^= byte(1 + r.IntN(255))
				}
				must(t, os.WriteFile(p, b, 0o666))
				must(t, os.Chtimes(p, time.Time{}, fi.ModTime()))
			}
		case 4, 5:
			must(t, os.RemoveAll(p))
		case 6:
			if isFile {
				must(t, os.Chmod(p, []os.FileMode{0o600, 0o644, 0o755, writable(0o444)}[r.IntN(4)]))
			} else if isDir {
				must(t, os.Chmod(p, []os.FileMode{0o700, 0o755, 0o775}[r.IntN(3)]))
			}
		case 7:
			if isFile {
				must(t, os.Chtimes(p, time.Time{}, time.Unix(r.Int64N(2e9), r.Int64N(1e9))))
			}
		case 8: // another kind of thing
			must(t, os.RemoveAll(p))
			if os.MkdirAll(filepath.Dir(p), 0o755) != nil {
				continue
			}
			switch r.IntN(3) {
			case 0:
				must(t, os.Symlink([]string{"a", "../x", "/etc", "nowhere"}[r.IntN(4)], p))
			case 1:
				must(t, os.Mkdir(p, 0o755))
			default:
				put(t, r, p)
			}
		case 9:
			q := filepath.Join(root, randomName(r))
			if exists && !throughLink(root, q) && os.MkdirAll(filepath.Dir(q), 0o755) == nil {
				_ = os.Rename(p, q) // into itself or over a folder: then not
			}
		}
	}
}

// writable is a mode with which edits can go on.
func writable(m os.FileMode) os.FileMode {
	if os.Geteuid() != 0 {
		m |= 0o200
	}
	return m
}

// throughLink tells whether what is on the way to p is a link or a file, by which an edit would leave the root.
func throughLink(root, p string) bool {
	for p = filepath.Dir(p); len(p) > len(root); p = filepath.Dir(p) {
		if fi, err := os.Lstat(p); err == nil && !fi.IsDir() {
			return true
		}
	}
	return false
}

func put(t *testing.T, r *rand.Rand, p string) {
	t.Helper()
	if os.MkdirAll(filepath.Dir(p), 0o755) != nil {
		return // below a file
	}
	size := []int{0, 1, 10, 1000, 50_000, 200_000, 1_500_000}[min(r.IntN(7), r.IntN(7))]
	body := bytes.Repeat([]byte(fmt.Sprintf("%08x", r.Uint32())), size/8+1)[:size]
	if fi, err := os.Lstat(p); err == nil && !fi.Mode().IsRegular() {
		return
	}
	must(t, os.WriteFile(p, body, 0o644))
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func randomName(r *rand.Rand) string {
	parts := make([]string, 1+r.IntN(3))
	for i := range parts {
		parts[i] = []string{"a", "b", "c", "a-b", "a.b", "\xfe", "é"}[r.IntN(7)]
	}
	return filepath.Join(parts...)
}

func sortedPaths(t *testing.T, root string) []string {
	var paths []string
	for p := range snapshot(t, root) {
		paths = append(paths, p)
	}
	sort.Strings(paths)
	return paths
}

// TestRandomEditsAgainstModel edits both sides at random, again and again, and
// compares what a sync makes of it with the model.
func TestRandomEditsAgainstModel(t *testing.T) {
	noGoroutines(t)
	const rounds = 6
	for _, seed := range soak.Seeds(t, 8) {
		t.Run(soak.Name(seed), func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 1))
			p := newPair(t)
			p.believe = true // edits delete what they like
			edit(t, r, p.near, 30)
			p.mustUp()
			p.wantEqual()
			base := look(t, p.near)
			for round := range rounds {
				edit(t, r, p.near, r.IntN(6))
				edit(t, r, p.far, r.IntN(6))
				near, far := look(t, p.near), look(t, p.far)
				want, conflicts := merge(base, near, far)
				ops := []func() (transfer.Report, error){p.up, p.back}
				if r.IntN(2) == 0 {
					ops[0], ops[1] = ops[1], ops[0]
				}
				named := map[string]bool{}
				for _, op := range ops {
					rep, err := op()
					if err != nil && !fault.Is(err, fault.Conflict) || (err != nil) != (len(conflicts) > 0) {
						t.Fatalf("round %d: got %v, want conflicts %v", round, err, conflicts)
					}
					for _, l := range rep.Left {
						named[l.Path] = true
					}
				}
				checkMerge(t, fmt.Sprintf("round %d", round), want, conflicts, named, [2]world{near, far}, [2]world{look(t, p.near), look(t, p.far)})
				if len(conflicts) > 0 {
					settle(t, p)
				}
				if t.Failed() {
					return
				}
				base = look(t, p.near)
				noTemp(t, p.near, p.far)
				// Nothing is left to do, and that is known without reading.
				rep := p.mustUp()
				if rep.Files+rep.Folders+rep.Links+rep.Deleted+rep.Touched > 0 {
					t.Fatalf("round %d: equal, but: %+v", round, rep)
				}
			}
		})
	}
}

// checkMerge holds what two syncs made of near and far against the model's tree,
// but for what was named: that is as it was, with all that is in it.
func checkMerge(t *testing.T, what string, want world, conflicts, named map[string]bool, before, after [2]world) {
	t.Helper()
	within := func(path string) bool {
		for ; path != "."; path = filepath.Dir(path) {
			if named[path] {
				return true
			}
		}
		return false
	}
	around := func(path string) bool {
		for n := range named {
			if strings.HasPrefix(n, path+"/") {
				return true
			}
		}
		return false
	}
	for path := range conflicts {
		if !within(path) && !around(path) {
			t.Errorf("%s: conflict on %q is not named by %v", what, path, named)
		}
	}
	all := map[string]bool{}
	for _, w := range []world{want, before[0], before[1], after[0], after[1]} {
		for path := range w {
			all[path] = true
		}
	}
	for path := range all {
		for side, name := range []string{"near", "far"} {
			got, is := after[side][path]
			had, was := before[side][path]
			m, wanted := want[path]
			switch same := is == was && got == had; {
			case within(path) && !same:
				t.Errorf("%s, %s: %q was named and is %v %v, was %v %v", what, name, path, is, got, was, had)
			case within(path), around(path) && same:
			case is != wanted || got != m:
				t.Errorf("%s, %s: %q is %v %.60v, want %v %.60v", what, name, path, is, got, wanted, m)
			}
		}
	}
}

func checkWorld(t *testing.T, what string, want, got world) {
	t.Helper()
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(thing{})); diff != "" {
		t.Errorf("%s (-model +got):\n%.4000s", what, diff)
	}
}

// settle is what a person does about conflicts: here, the near side is right.
func settle(t *testing.T, p *pair) {
	t.Helper()
	must(t, os.RemoveAll(p.far))
	must(t, exec.Command("cp", "-a", p.near, p.far).Run())
	if rep := p.mustUp(); rep.Files > 0 {
		t.Errorf("settled by hand, but: %+v", rep)
	}
	p.wantEqual()
}
