// Package guard says what of a machine's tree is not brought back.
//
// A machine runs anybody's code, and most of what comes back is only looked at
// or built. Some files act on their own: the list of what is not synced, which
// decides what the next run sends out, and what Git reads as its configuration
// and executes, also when somebody only asks for the status. These stay as they
// are here, whatever became of them there. It is a pure function of lists.
package guard

import (
	"slices"
	"strings"

	"outrigger.dev/outrigger/internal/worksync/ignore"
	"outrigger.dev/outrigger/internal/worksync/tree"
)

// Lists are the three sides of a merge, each in walk order.
type Lists struct{ Base, Near, Far []tree.Entry }

// Options says what is guarded.
type Options struct {
	// IgnoreFile are the paths by which the ignore file is found here, if there is
	// one. The name in the root is guarded in any case.
	IgnoreFile []string
	// TakeGit lets Git's configuration be taken back.
	TakeGit bool
	// Referred are further paths that Git's configuration here names, see [Referred].
	Referred []string
}

// A Guard knows the paths that are guarded in some lists. They stand for all
// that is below them.
type Guard struct {
	ignore map[string]bool
	git    map[string]bool
}

// New finds what is guarded in lists.
func New(l Lists, opt Options) *Guard {
	g := &Guard{ignore: map[string]bool{}, git: map[string]bool{}}
	for _, path := range opt.IgnoreFile {
		g.ignore[path] = true
	}
	for _, list := range [][]tree.Entry{l.Base, l.Near, l.Far} {
		for i := range list {
			if path := list[i].Path; strings.IndexByte(path, '/') < 0 && fold(path) == ignore.FileName {
				g.ignore[path] = true
			}
		}
	}
	if !opt.TakeGit {
		g.findGit(l)
		for _, path := range opt.Referred {
			g.git[path] = true
		}
	}
	return g
}

// holds tells whether path itself is guarded.
func (g *Guard) holds(path string) bool { return g.ignore[path] || g.git[path] }

// Back returns the lists without what is guarded, so that a merge leaves it
// alone on both sides.
func (g *Guard) Back(l Lists) Lists {
	return Lists{g.without(l.Base), g.without(l.Near), g.without(l.Far)}
}

// Ours are the guarded paths on which this side is right, so that the machine
// gets what is here again. What was only ever there stays as it is.
func (g *Guard) Ours(l Lists) map[string]bool {
	ours := map[string]bool{}
	for _, list := range [][]tree.Entry{l.Base, l.Near} {
		g.each(list, func(e *tree.Entry) { ours[e.Path] = true })
	}
	return ours
}

// Holders are the folders here in which something guarded is that they must not
// be deleted with.
func (g *Guard) Holders(near []tree.Entry) map[string]bool {
	dirs := map[string]bool{}
	g.each(near, func(e *tree.Entry) {
		if g.holds(e.Path) && strings.IndexByte(e.Path, '/') >= 0 {
			dirs[tree.Parent(e.Path)] = true
		}
	})
	return dirs
}

// walk calls one of two functions for each entry of a list.
func (g *Guard) walk(list []tree.Entry, guarded, other func(*tree.Entry)) {
	above := "" // the guarded path that the last entries were below
	for i := range list {
		e := &list[i]
		switch {
		case above != "" && strings.HasPrefix(e.Path, above) && e.Path[len(above)] == '/':
			guarded(e)
		case g.holds(e.Path):
			above = e.Path
			guarded(e)
		default:
			other(e)
		}
	}
}

func (g *Guard) each(list []tree.Entry, guarded func(*tree.Entry)) {
	g.walk(list, guarded, func(*tree.Entry) {})
}

func (g *Guard) without(list []tree.Entry) []tree.Entry {
	if len(g.ignore)+len(g.git) == 0 {
		return list
	}
	out := make([]tree.Entry, 0, len(list))
	g.walk(list, func(*tree.Entry) {}, func(e *tree.Entry) { out = append(out, *e) })
	return out
}

// Withheld are paths that differ on the machine and were not taken, without
// what is below one of them.
type Withheld struct{ IgnoreFile, Git []string }

// Withheld tells what of the guarded became different on the machine.
func (g *Guard) Withheld(l Lists) Withheld {
	var w Withheld
	theirs, known := map[string]*tree.Entry{}, map[string]*tree.Entry{}
	g.each(l.Far, func(e *tree.Entry) { theirs[e.Path] = e })
	g.each(l.Base, func(e *tree.Entry) { known[e.Path] = e })
	mine := map[string]bool{}
	note := func(path string) {
		for p := path; p != ""; p = tree.Parent(p) {
			if g.ignore[p] {
				w.IgnoreFile = append(w.IgnoreFile, path)
				return
			}
		}
		w.Git = append(w.Git, path)
	}
	g.each(l.Near, func(e *tree.Entry) {
		mine[e.Path] = true
		if f := theirs[e.Path]; !same(e, f) && !same(known[e.Path], f) {
			note(e.Path)
		}
	})
	g.each(l.Far, func(e *tree.Entry) {
		if !mine[e.Path] && !same(known[e.Path], e) && e.Kind != tree.Special {
			note(e.Path)
		}
	})
	w.IgnoreFile, w.Git = outermost(w.IgnoreFile), outermost(w.Git)
	return w
}

// outermost sorts paths and leaves out those below another one.
func outermost(paths []string) []string {
	slices.SortFunc(paths, tree.Compare)
	var out []string
	for _, path := range paths {
		if n := len(out); n == 0 || !strings.HasPrefix(path, out[n-1]+"/") {
			out = append(out, path)
		}
	}
	return out
}

// same tells whether two entries are known to be no different but in their time.
func same(a, b *tree.Entry) bool {
	if a == nil || b == nil {
		return a == b
	}
	if a.Kind != b.Kind || a.Mode != b.Mode || a.Size != b.Size || a.Target != b.Target {
		return false
	}
	if a.Digest.Known() && b.Digest.Known() {
		return a.Digest == b.Digest
	}
	return a.Kind != tree.File || a.MTime == b.MTime
}

// Excluded takes what m excludes out of the machine's list, and returns the
// paths. A machine that keeps to the patterns it was sent lists nothing of this.
func Excluded(far []tree.Entry, m *ignore.Matcher, listed func(path string) bool) (kept []tree.Entry, out []string) {
	for i := range far {
		if e := &far[i]; listed(e.Path) && m.Excluded(e.Path, e.Kind == tree.Dir) {
			out = append(out, e.Path)
		}
	}
	if len(out) == 0 {
		return far, nil
	}
	gone := map[string]bool{}
	for _, path := range out {
		gone[path] = true
	}
	kept = make([]tree.Entry, 0, len(far))
	for i := range far {
		if !gone[far[i].Path] {
			kept = append(kept, far[i])
		}
	}
	return kept, out
}
