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

// side reads a side: as parse does, with "#why" behind what cannot be read, "*"
// behind a folder that holds what is not synced, "^" behind what is fixed.
func side(t *testing.T, s string) plan.Side {
	t.Helper()
	out := plan.Side{Unknown: map[string]string{}, Holds: map[string]bool{}, Fixed: map[string]bool{}}
	var plain []string
	for word := range strings.FieldsSeq(s) {
		word, why, unknown := strings.Cut(word, "#")
		bare := strings.TrimRight(word, "*^")
		path := strings.TrimRight(bare, "/")
		if i := strings.IndexAny(path, "=+>|@"); i >= 0 {
			path = path[:i]
		}
		path = strings.TrimRight(path, "/")
		if unknown {
			out.Unknown[path] = why
		}
		if strings.HasSuffix(word, "*") {
			out.Holds[path] = true
		}
		if strings.HasSuffix(word, "^") {
			out.Fixed[path] = true
		}
		plain = append(plain, bare)
	}
	out.Entries = parse(t, strings.Join(plain, " "))
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
			if s.From != "" {
				line += " from " + s.From
			}
			if s.Op == plan.Aside {
				line += " as " + s.To
			}
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
	for _, path := range p.HeldFar {
		out = append(out, "held far "+path)
	}
	for _, path := range p.HeldNear {
		out = append(out, "held near "+path)
	}
	for _, u := range p.Unknown {
		line := "unknown " + u.Path + " there"
		if u.Here {
			line = "unknown " + u.Path + " here"
		}
		if u.News {
			line += " with news"
		}
		out = append(out, line)
	}
	for _, b := range p.Beside {
		out = append(out, strings.TrimSpace(fmt.Sprint("beside ", b.Path, " ", strings.Join(b.Gone, " "))))
	}
	for _, c := range p.Decided {
		out = append(out, "decided "+c.Path)
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
		{"a folder became a file while something was edited in it", "d/ d/a=1", "d=1", "d/ d/a=2", "conflict d"},
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
		{"a pipe in a folder that goes", "d/ d/p|", "", "d/ d/p|", ""},

		{"a conflict holds back its own path only", "a=1 b=1 c=1", "a=2 b=2 c=1", "a=3 b=1 c=2", "far: write b!, near: write c!, conflict a"},
		{"a conflict in a folder that was deleted", "d/ d/a=1 d/b=1", "", "d/ d/a=2 d/b=1", "far: delete d/b!, conflict d/a"},
		{"a folder became a file, edited in it, with others in it", "d/ d/a=1 d/b=1 d/c/ x=1", "d=1 x=2", "d/ d/a=2 d/b=1 d/c/ x=1", "far: write x!, conflict d"},
		{"a folder deleted here, closed there", "d/ d/a=1 d/e/ d/e/f=1", "", "d/+700 d/a=1 d/e/ d/e/f=1", "conflict d"},
		{"two modes of a folder, whose files go on", "d/ d/a=1", "d/+700 d/a=2", "d/+711 d/a=1", "far: write d/a!, conflict d"},

		{"a file that cannot be read there, unchanged here", "a=1 b=1", "a=1 b=2", "a=?#denied b=1", "far: write b!, unknown a there"},
		{"a file that cannot be read there, new", "", "", "a=?#denied", "unknown a there"},
		{"a file that cannot be read there, edited here", "a=1", "a=2", "a=?#denied", "unknown a there with news"},
		{"a file that cannot be read there, deleted here", "d/ d/a=1", "", "d/ d/a=?#denied", "unknown d/a there with news"},
		{"a file that cannot be read here, made anew on both sides", "", "a=?#denied", "a=2", "unknown a here with news"},
		{"a folder that cannot be read there keeps all that is in it", "d/ d/a=1 d/e/ d/e/f=1 x=1", "d/ d/a=1 d/e/ d/e/f=1 x=1", "d/#denied x=2", "near: write x!, unknown d there"},
		{"a folder that cannot be read there, something new here", "d/ d/a=1", "d/ d/a=1 d/n=1", "d/#denied", "unknown d there with news"},
		{"a folder that cannot be read there, deleted here", "c/ c/d/ c/d/a=1 c/x=1", "", "c/ c/d/#denied c/x=1", "far: delete c/x!, unknown c/d there with news"},
		{"a folder that cannot be read here, around it became a file", "c/ c/d/ c/d/a=1", "c/ c/d/#denied", "c=1", "unknown c/d here with news, conflict c"},

		{"a folder with excluded files is deleted", "d/ d/a=1", "", "d/* d/a=1", "far: delete d/a!, held far d"},
		{"one above it too", "c/ c/d/ c/d/a=1", "c/ c/d/* c/d/a=1", "", "near: delete c/d/a!, held near c/d"},
		{"a folder with excluded files became a file", "d/ d/a=1 x=1", "d/* d/a=1 x=1", "d=1 x=2", "near: write d.outrigger-there from d, near: write x!, beside d d/a"},
		{"one deeper in it became a link", "d/ d/e/ d/e/a=1 d/f=1", "d/ d/e/* d/e/a=1 d/f=1", "d>x", "near: make d.outrigger-there from d, beside d d/e d/e/a d/f"},
		{"one with excluded files and an edit became a file", "d/ d/a=1", "d/* d/a=2", "d=1", "conflict d"},
		{"a folder with excluded files in its folder became a link", "d/ d/e/ d/e/a=1", "d>x", "d/ d/e/* d/e/a=1", "conflict d"},
		{"a mount point was removed there", "m/ m/a=1", "m/^ m/a=1", "", "far: make m!, near: delete m/a!"},
		{"the folder of a mount point was removed there", "d/ d/m/", "d/ d/m/^", "", "far: make d!, far: make d/m!"},
		{"a mount point became a file there", "m/ x=1", "m/^ x=1", "m=1 x=2", "near: write x!, conflict m"},
		{"a mounted file became a folder there", "f=1", "f=1^", "f/ f/a=1", "conflict f"},
		{"a mounted file was edited there", "f=1", "f=1^", "f=2", "near: write f!"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := words(plan.Merge(parse(t, tt.base), side(t, tt.near), side(t, tt.far), plan.Options{}))
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
		{"near is right", "a=1 b=1", "a=2 b=2", "a=3 b=1", plan.Options{Prefer: plan.Near}, "far: write a!, far: write b!, decided a"},
		{"far is right", "a=1 b=1", "a=2 b=1", "a=3 b=1", plan.Options{Prefer: plan.Far}, "near: write a!, decided a"},
		{"far is right, and has deleted it", "d/ d/a=1", "d/ d/a=2", "", plan.Options{Prefer: plan.Far}, "near: delete d/a!, near: delete d!, decided d/a"},
		{"near is right, and the other has deleted its folder", "d/ d/a=1 d/b=1", "d/ d/a=2 d/b=1", "", plan.Options{Prefer: plan.Near}, "far: make d!, far: write d/a!, near: delete d/b!, decided d/a"},
		{"far is right: a file that became a folder", "a=1", "a=2", "a/ a/x=1 a/b/ a/b/c=1", plan.Options{Prefer: plan.Far}, "near: delete a, near: make a!, near: make a/b!, near: write a/b/c!, near: write a/x!, decided a"},
		{"near is right: a file that became a folder there", "a=1", "a=2", "a/ a/x=1", plan.Options{Prefer: plan.Near}, "far: delete a/x!, far: delete a, far: write a!, decided a"},
		{"near is right, but the folder has to stay", "a=1", "a=2", "a/* a/x=1", plan.Options{Prefer: plan.Near}, "conflict a"},
		{"near is right, but there is a pipe in the folder", "a=1", "a=2", "a/ a/p|", plan.Options{Prefer: plan.Near}, "conflict a"},
		{"near is right, but part of the folder cannot be read", "a=1", "a=2", "a/ a/u=?#denied", plan.Options{Prefer: plan.Near}, "unknown a/u there, conflict a"},
		{"far is right, part of it cannot be read", "a=1", "a=2", "a/ a/u=?#denied a/x=1", plan.Options{Prefer: plan.Far}, "near: delete a, near: make a!, near: write a/x!, unknown a/u there, decided a"},
		{"a folder with excluded files became a file, on the way up", "d/ d/a=1 x=1", "d/* d/a=1 x=2", "d=1 x=1", plan.Options{Up: true}, "far: write x!, conflict d"},
		{"both are kept, when the far side changes", "a=1", "a=2", "a=3 a.outrigger-there=old", plan.Options{Prefer: plan.Both, Up: true}, "far: put aside a as a.outrigger-there-2, far: write a!, near: write a.outrigger-there!, beside a"},
		{"both are kept, when the near side changes", "a=1", "a=2", "a=3", plan.Options{Prefer: plan.Both}, "near: write a.outrigger-there from a, beside a"},
		{"both are kept: a folder and a file", "a/ a/x=1 a/y=1", "a=2", "a/ a/x=3", plan.Options{Prefer: plan.Both}, "near: make a.outrigger-there from a, near: write a.outrigger-there/x from a/x, beside a a/y"},
		{"both are kept: a file and a folder", "a=1", "a/ a/x=1", "a=3", plan.Options{Prefer: plan.Both, Up: true}, "far: put aside a as a.outrigger-there, far: make a!, far: write a/x!, beside a"},
		{"both are kept: a folder that became a link, edited in it", "a/ a/b/ a/b/x=1", "a>z", "a/ a/b/ a/b/x=2", plan.Options{Prefer: plan.Both}, "near: make a.outrigger-there from a, near: make a.outrigger-there/b from a/b, near: write a.outrigger-there/b/x from a/b/x, beside a"},
		{"there are no two to be kept", "a=1 b=1", "a=2", "b=2", plan.Options{Prefer: plan.Both}, "far: write a!, near: write b!, decided a, decided b"},
		{"both are kept, but the folder has to stay", "a=1", "a=2", "a/* a/x=1", plan.Options{Prefer: plan.Both}, "conflict a"},
		{"no modes there: no conflict about them", "a=1", "a=1+600", "a=1+755", plan.Options{NoModes: true}, "far: set a 600@0!"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := words(plan.Merge(parse(t, tt.base), side(t, tt.near), side(t, tt.far), tt.opt))
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

// TestStepsMakeBothSidesEqual carries plans of random trees out in memory, in
// which some paths cannot be read, some folders hold more and some have to stay:
// every step must be possible when it comes, and in the end both sides are the
// same but at what was named, and as they were there.
func TestStepsMakeBothSidesEqual(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 20_000 {
		base := randomTree(r, nil)
		near, far := randomSide(r, base), randomSide(r, base)
		opt := plan.Options{Prefer: plan.Prefer(r.IntN(3))}
		p := plan.Merge(base, near, far, opt)
		n, f := carryOut(t, near, p.Near), carryOut(t, far, p.Far)
		named := map[string]bool{}
		for _, c := range p.Conflicts {
			named[c.Path] = true
		}
		for _, u := range p.Unknown {
			named[u.Path] = true
		}
		for _, b := range p.Beside {
			named[b.Path] = true
			for path, e := range n {
				if path != b.To && !strings.HasPrefix(path, b.To+"/") {
					continue
				}
				delete(n, path)
				if e.Path = b.Path + path[len(b.To):]; e != f[e.Path] {
					t.Fatalf("%s came as %v\nplan %s", e.Path, e, words(p))
				}
			}
		}
		checkSides(t, n, f, near, far, named, func(what string) {
			t.Fatalf("%s\nbase %v\nnear %v\nfar %v\nprefer %v\nplan %s", what, base, near, far, opt.Prefer, words(p))
		})
	}
}

// checkSides is the model: it knows what may differ in the end, and nothing of
// how the plan came to be.
func checkSides(t *testing.T, n, f map[string]tree.Entry, near, far plan.Side, named map[string]bool, fail func(string)) {
	t.Helper()
	before := map[string]tree.Entry{}
	for _, e := range near.Entries {
		before["near "+e.Path] = e
	}
	for _, e := range far.Entries {
		before["far "+e.Path] = e
	}
	all := map[string]bool{}
	for path := range n {
		all[path] = true
	}
	for path := range f {
		all[path] = true
	}
	for path := range all {
		a, inN := n[path]
		b, inF := f[path]
		if inN == inF && a == b {
			continue
		}
		if (!inN || a == before["near "+path]) && (!inF || b == before["far "+path]) && mayDiffer(path, inN, inF, near, far, named) {
			continue
		}
		fail(fmt.Sprintf("%s: here %v (%v), there %v (%v)", path, a, inN, b, inF))
	}
}

// mayDiffer tells whether path was named, is in something that was, or is a
// folder that has to stay on one side because of itself or what is in it.
func mayDiffer(path string, inN, inF bool, near, far plan.Side, named map[string]bool) bool {
	for dir := path; dir != ""; dir = tree.Parent(dir) {
		if named[dir] {
			return true
		}
	}
	if inN == inF {
		return false
	}
	stays := near
	if inF {
		stays = far
	}
	reasons := []map[string]bool{stays.Holds, stays.Fixed, named}
	for _, set := range reasons {
		for other := range set {
			if other == path || strings.HasPrefix(other, path+"/") {
				return true
			}
		}
	}
	return false
}

// randomSide changes a tree and sees to it that something stands in the way.
func randomSide(r *rand.Rand, base []tree.Entry) plan.Side {
	s := plan.Side{Entries: randomTree(r, base), Unknown: map[string]string{}, Holds: map[string]bool{}, Fixed: map[string]bool{}}
	if len(s.Entries) == 0 || r.IntN(2) == 0 {
		return s
	}
	e := s.Entries[r.IntN(len(s.Entries))]
	switch r.IntN(3) {
	case 0:
		s.Unknown[e.Path] = "denied"
		s.Entries = slices.DeleteFunc(s.Entries, func(o tree.Entry) bool { return strings.HasPrefix(o.Path, e.Path+"/") })
	case 1:
		if e.Kind == tree.Dir {
			s.Holds[e.Path] = true
		}
	case 2:
		s.Fixed[e.Path] = true
	}
	return s
}

func carryOut(t *testing.T, side plan.Side, steps []plan.Step) map[string]tree.Entry {
	t.Helper()
	has := map[string]tree.Entry{}
	for _, e := range side.Entries {
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
			if side.Holds[path] || side.Fixed[path] || side.Unknown[path] != "" {
				t.Fatalf("delete %s, which has to stay", path)
			}
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
