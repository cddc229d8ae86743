package plan_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"outrigger.dev/outrigger/internal/worksync/plan"
	"outrigger.dev/outrigger/internal/worksync/tree"
)

// parse reads a tree in words: "d/" is a folder, "f=x" a file with content x,
// "f=x+755" one with a mode, "f=x@9" one with a time, "l>t" a link, "p|" a pipe.
// Content "?" is a digest that is not known.
func parse(t *testing.T, s string) []tree.Entry {
	t.Helper()
	var out []tree.Entry
	for word := range strings.FieldsSeq(s) {
		e := tree.Entry{Kind: tree.File, Mode: 0o644}
		if i := strings.IndexByte(word, '@'); i >= 0 {
			scan(t, word[i+1:], "%d", &e.MTime)
			word = word[:i]
		}
		if i := strings.IndexByte(word, '+'); i >= 0 {
			scan(t, word[i+1:], "%o", &e.Mode)
			word = word[:i]
		}
		switch {
		case strings.HasSuffix(word, "/"):
			e.Kind, e.Path = tree.Dir, strings.TrimSuffix(word, "/")
			if e.Mode == 0o644 {
				e.Mode = 0o755
			}
		case strings.HasSuffix(word, "|"):
			e = tree.Entry{Kind: tree.Special, Path: strings.TrimSuffix(word, "|")}
		case strings.Contains(word, ">"):
			path, target, _ := strings.Cut(word, ">")
			e = tree.Entry{Kind: tree.Link, Path: path, Target: target}
		default:
			path, content, _ := strings.Cut(word, "=")
			e.Path, e.Size = path, int64(len(content))
			if content != "?" {
				e.Digest[0] = 1
				copy(e.Digest[1:], content)
			}
		}
		out = append(out, e)
	}
	slices.SortFunc(out, func(a, b tree.Entry) int { return tree.Compare(a.Path, b.Path) })
	return out
}

func scan(t *testing.T, s, format string, to any) {
	t.Helper()
	if _, err := fmt.Sscanf(s, format, to); err != nil {
		t.Fatal(err)
	}
}

// words writes a plan: "far: write f" and so on; a "!" marks a step that settles.
func words(p plan.Plan) string {
	var out []string
	for _, side := range []struct {
		name  string
		steps []plan.Step
	}{{"far", p.Far}, {"near", p.Near}} {
		for _, s := range side.steps {
			line := fmt.Sprintf("%s: %v %s", side.name, s.Op, s.Entry.Path)
			if s.Op == plan.Meta {
				line += fmt.Sprintf(" %o@%d", s.Entry.Mode, s.Entry.MTime)
			}
			if s.Settles {
				line += "!"
			}
			out = append(out, line)
		}
	}
	for _, e := range p.Agreed {
		out = append(out, "agreed "+e.Path)
	}
	for _, path := range p.Forget {
		out = append(out, "forget "+path)
	}
	for _, c := range p.Conflicts {
		out = append(out, "conflict "+c.Path)
	}
	return strings.Join(out, ", ")
}

func TestMerge(t *testing.T) {
	for _, tt := range []struct{ name, base, near, far, want string }{
		{"nothing changed", "a=1 d/ d/b=1 l>x", "a=1 d/ d/b=1 l>x", "a=1 d/ d/b=1 l>x", ""},
		{"an edit goes up", "a=1", "a=2", "a=1", "far: write a!"},
		{"an edit comes back", "a=1", "a=1", "a=22", "near: write a!"},
		{"a new folder before its files", "", "d/ d/a=1", "", "far: make d!, far: write d/a!"},
		{"a deletion, contents first", "d/ d/a=1", "", "d/ d/a=1", "far: delete d/a!, far: delete d!"},
		{"deleted on both sides", "a=1", "", "", "forget a"},
		{"the same edit on both sides", "a=1", "a=2", "a=2", "agreed a"},
		{"two edits", "a=1", "a=2", "a=3", "conflict a"},
		{"made on both sides", "", "a=2", "a=3", "conflict a"},
		{"made on both sides, equal but for the mode", "", "a=2+755", "a=2", "far: set a 755@0!"},
		{"deleted here, edited there", "a=1", "", "a=2", "conflict a"},
		{"deleted here, touched there", "a=1@1", "", "a=1@2", "far: delete a!"},
		{"deleted here, made executable there", "a=1", "", "a=1+755", "conflict a"},
		{"edited here, touched there", "a=1@1", "a=2@3", "a=1@2", "far: write a!"},
		{"edited here, made executable there", "a=1", "a=2", "a=1+755", "far: write a, near: set a 755@0"},
		{"two modes", "a=1", "a=1+600", "a=1+755", "conflict a"},
		{"touched on both sides", "a=1@1", "a=1@2", "a=1@3", "far: set a 644@2!"},
		{"touched there", "a=1@1", "a=1@1", "a=1@3", "near: set a 644@3!"},
		{"a link changed", "l>x", "l>y", "l>x", "far: make l!"},
		{"a file became a link", "a=1", "a>x", "a=1", "far: make a!"},
		{"a folder became a file", "d/ d/a=1", "d=1", "d/ d/a=1", "far: delete d/a!, far: delete d, far: write d!"},
		{"a file became a folder", "d=1", "d/ d/a=1", "d=1", "far: delete d, far: make d!, far: write d/a!"},
		{"a folder became a file while something was edited in it", "d/ d/a=1", "d=1", "d/ d/a=2", "conflict d/a"},
		{"a folder became a file while something was put into it", "d/", "d=1", "d/ d/n=1", "conflict d"},
		{"a folder was deleted while something was put into it", "d/ d/a=1", "", "d/ d/a=1 d/n=1", "far: delete d/a!, near: make d!, near: write d/n!"},
		{"gone there, another kind of thing here", "d/", "d=1", "", "far: write d!"},
		{"a folder's mode", "d/", "d/+700", "d/", "far: set d 700@0!"},
		{"two different kinds", "", "a/", "a=1", "conflict a"},
		{"a pipe took its place here", "a=1", "a|", "a=1", ""},
		{"a pipe took its place here, edited there", "a=1", "a|", "a=2", "conflict a"},
		{"a pipe here, something new there", "", "a|", "a=2", "conflict a"},
		{"a pipe in place of a folder", "d/ d/a=1", "d|", "d/ d/a=1", "far: delete d/a!"},
		{"a pipe in place of a folder with news", "d/ d/a=1", "d|", "d/ d/a=1 d/n=1", "conflict d"},
		{"a pipe in a folder that goes: whoever deletes finds it and keeps the folder", "d/ d/p|", "", "d/ d/p|", "far: delete d!"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := words(plan.Merge(parse(t, tt.base), parse(t, tt.near), parse(t, tt.far), plan.Options{}))
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("plan (-want +got):\n%s", diff)
			}
		})
	}
}

func TestMergeOptions(t *testing.T) {
	for _, tt := range []struct {
		name, base, near, far string
		opt                   plan.Options
		want                  string
	}{
		{"pristine: the near side is right", "", "a=1 b=2", "a=1 b=3 c=4", plan.Options{Pristine: true}, "far: delete c!, far: write b!, agreed a"},
		{"pristine: an old baseline says nothing", "a=1", "a=1", "", plan.Options{Pristine: true}, "far: write a!"},
		{"no modes there: no conflict about them", "a=1", "a=1+600", "a=1+755", plan.Options{NoModes: true}, "far: set a 600@0!"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := words(plan.Merge(parse(t, tt.base), parse(t, tt.near), parse(t, tt.far), tt.opt))
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("plan (-want +got):\n%s", diff)
			}
		})
	}
}

func TestUnsureNamesWhatMattersOnly(t *testing.T) {
	near := parse(t, "new=? same=1 size=? both=? here=?")
	far := parse(t, "same=1 size=22 both=?")
	if diff := cmp.Diff([]string{"both"}, plan.Unsure(near, far)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestStepsMakeBothSidesEqual carries plans of random trees out in memory:
// every step must be possible when it comes, and in the end both sides are the
// same and the baseline that follows is what they are.
func TestStepsMakeBothSidesEqual(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 5_000 {
		base := randomTree(r, nil)
		near, far := randomTree(r, base), randomTree(r, base)
		p := plan.Merge(base, near, far, plan.Options{})
		if len(p.Conflicts) > 0 {
			if len(p.Far)+len(p.Near)+len(p.Agreed)+len(p.Forget) > 0 {
				t.Fatalf("conflicts and steps: %s", words(p))
			}
			continue
		}
		n, f := carryOut(t, near, p.Near), carryOut(t, far, p.Far)
		if diff := cmp.Diff(n, f); diff != "" {
			t.Fatalf("base %v\nnear %v\nfar %v\nplan %s\nends (-near +far):\n%s", base, near, far, words(p), diff)
		}
	}
}

func carryOut(t *testing.T, entries []tree.Entry, steps []plan.Step) map[string]tree.Entry {
	t.Helper()
	has := map[string]tree.Entry{}
	for _, e := range entries {
		has[e.Path] = e
	}
	for _, s := range steps {
		path := s.Entry.Path
		old, there := has[path]
		if dir := tree.Parent(path); dir != "" && has[dir].Kind != tree.Dir {
			t.Fatalf("%v %s: its folder is not there", s.Op, path)
		}
		switch s.Op {
		case plan.Delete:
			for other := range has {
				if tree.Parent(other) == path {
					t.Fatalf("delete %s, which holds %s", path, other)
				}
			}
			if !there {
				t.Fatalf("delete %s, which is not there", path)
			}
			delete(has, path)
			continue
		case plan.Meta:
			if !there || old.Kind != s.Entry.Kind || old.Digest != s.Entry.Digest {
				t.Fatalf("set %s: %v where %v is", path, s.Entry, old)
			}
		default:
			if there && (old.Kind == tree.Dir || s.Entry.Kind == tree.Dir) {
				t.Fatalf("%v %s where a %v is", s.Op, path, old.Kind)
			}
		}
		has[path] = s.Entry
	}
	return has
}

// randomTree makes a tree, or changes a few entries of one.
func randomTree(r *rand.Rand, from []tree.Entry) []tree.Entry {
	has := map[string]tree.Entry{}
	for _, e := range from {
		has[e.Path] = e
	}
	for range 1 + r.IntN(4) {
		path := []string{"a", "b", "a/a", "a/b", "b/a", "a/a/a", "a-b"}[r.IntN(7)]
		for other := range has {
			if other == path || strings.HasPrefix(other, path+"/") {
				delete(has, other)
			}
		}
		if r.IntN(4) == 0 {
			continue
		}
		for dir := tree.Parent(path); dir != ""; dir = tree.Parent(dir) {
			if has[dir].Kind != tree.Dir {
				has[dir] = tree.Entry{Path: dir, Kind: tree.Dir, Mode: 0o755}
			}
		}
		e := tree.Entry{Path: path, Kind: tree.Kind(1 + r.IntN(3))}
		switch e.Kind {
		case tree.File:
			e.Mode, e.Size, e.Digest[0], e.MTime = []uint32{0o644, 0o755}[r.IntN(2)], 1, byte(1+r.IntN(2)), r.Int64N(2)
		case tree.Dir:
			e.Mode = []uint32{0o755, 0o700}[r.IntN(2)]
		case tree.Link:
			e.Target = []string{"x", "y"}[r.IntN(2)]
		}
		has[path] = e
	}
	out := make([]tree.Entry, 0, len(has))
	for _, e := range has {
		out = append(out, e)
	}
	slices.SortFunc(out, func(a, b tree.Entry) int { return tree.Compare(a.Path, b.Path) })
	return out
}
