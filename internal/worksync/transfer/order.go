package transfer

import (
	"cmp"
	"context"
	"math"
	"slices"
	"strings"

	"outrigger.dev/outrigger/internal/worksync/plan"
	"outrigger.dev/outrigger/internal/worksync/tree"
)

// Whoever looks at the folder while files come back must not be misled: a program that writes its
// results and then a file that says so is waited for by others here. So Back makes the changes in
// the order in which they were made there:
//
//   - first what others need: what makes room for another kind of thing, folders that something
//     comes into, and the modes and times of folders;
//   - then everything else by the time of its last change there (ctime: it cannot be set, and a
//     rename moves it; where a system has none, the modification time). Each file appears whole,
//     when all before it are there;
//   - a deletion has no time. It counts as of the last change in its folder, and comes before what
//     was made at that time: a lock that goes last goes last, and what was cleared away first is
//     gone before the last thing that came into that folder.
//   - What has the same time, as Linux' clock for files ticks every 1 to 10 ms, comes as folders,
//     then files, the largest first, then links: what says that something is ready is small.
//
// A connection that breaks leaves the first part of that, never a later change without an earlier one.

// first is the time of what others need.
const first = math.MinInt64

// A timed step is one with the time at which it is due.
type timed struct {
	plan.Step
	when int64
}

// inOrder brings the near side's steps, which are a plan's, into the order in which they are taken.
func (x *exchange) inOrder(steps []plan.Step) []timed {
	out := make([]timed, len(steps))
	comes := map[string]bool{}
	for i, s := range steps {
		out[i] = timed{s, x.changed(s)}
		if s.Op == plan.Make || s.Op == plan.Write {
			comes[s.Entry.Path] = true
		}
	}
	for i, s := range out {
		switch {
		case s.Op == plan.Delete && within(comes, s.Entry.Path),
			s.Op == plan.Make && s.Entry.Kind == tree.Dir && i+1 < len(out) && strings.HasPrefix(out[i+1].Entry.Path, s.Entry.Path+"/"),
			s.Op == plan.Meta && s.Entry.Kind == tree.Dir:
			out[i].when = first
		}
	}
	slices.SortStableFunc(out, func(a, b timed) int {
		return cmp.Or(cmp.Compare(a.when, b.when), cmp.Compare(a.rank(), b.rank()), cmp.Compare(b.Entry.Size, a.Entry.Size))
	})
	return out
}

// rank is the order of steps of the same time.
func (t *timed) rank() int {
	switch {
	case t.Op == plan.Delete:
		return 0
	case t.Entry.Kind == tree.Dir:
		return 1
	case t.Entry.Kind == tree.File:
		return 2
	}
	return 3
}

// changed is when the change was made there that a step brings.
func (x *exchange) changed(s plan.Step) int64 {
	if s.Op == plan.Delete {
		for dir := tree.Parent(s.Entry.Path); dir != ""; dir = tree.Parent(dir) {
			if i := findEntry(x.far, dir); i < len(x.far) && x.far[i].Path == dir && x.far[i].MTime != 0 {
				return x.far[i].MTime
			}
		}
		return first
	}
	if when, ok := x.list.when[s.Source()]; ok {
		return when
	}
	return s.Entry.MTime
}

// within tells whether a path is one of a set, or in one.
func within(set map[string]bool, path string) bool {
	for ; path != ""; path = tree.Parent(path) {
		if set[path] {
			return true
		}
	}
	return false
}

// turn waits until the step that comes next is due.
func (t *taker) turn(ctx context.Context) error {
	if t.cfg.Turn == nil || t.steps[0].when == first {
		return nil
	}
	if err := t.applier.Settle(); err != nil {
		return err
	}
	return t.cfg.Turn(ctx, t.steps[0].when)
}
