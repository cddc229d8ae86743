// Package plan decides what a sync has to do.
//
// It is arithmetic, not action: Merge reads three lists of entries in walk
// order (what both sides last agreed on, what the near side has, what the far
// side has) and answers with the steps that would make the two equal, and with
// the paths on which they cannot be made equal without losing something.
//
// The rules, for one path:
//
//   - What changed on one side goes to the other. What changed on both to the
//     same is nothing. Anything else is a conflict.
//   - A file has three parts, content, mode and modification time, and each is
//     merged by itself: a chmod there and an edit here are no conflict. A
//     modification time alone never conflicts and saves no file from deletion.
//   - What both sides made anew with the same content takes the near side's mode.
//   - Deleted on one side and changed on the other is a conflict, unless it
//     became another kind of thing: then the old one is gone on both sides.
//   - A folder goes only with all that is in it: if something in it stays, it
//     stays, or comes back.
//   - What a special file (a pipe, a device) has taken the place of is left
//     alone on both sides.
//   - While the far side is pristine, never having been given a whole baseline,
//     all it has came from here, and the near side is right.
package plan

import "outrigger.dev/outrigger/internal/worksync/tree"

// An Op is what a step does.
type Op byte

// The operations.
const (
	Delete Op = iota + 1 // remove Entry, as it is now
	Make                 // make a folder or link
	Write                // write a file, replacing a file or link
	Meta                 // set mode and modification time of what is there
)

// String returns the operation in words.
func (o Op) String() string {
	return [...]string{"nothing", "delete", "make", "write", "set"}[o]
}

// A Step changes one path on one side.
type Step struct {
	Op    Op
	Entry tree.Entry // as it is to be; for Delete as it is
	// Settles says that after this step both sides have Entry (after Delete:
	// neither has), so that it belongs in (out of) the baseline.
	Settles bool
}

// A Conflict is a path on which the two sides cannot be brought together.
type Conflict struct {
	Path string
	Why  string
}

// A Plan is the outcome of a merge. The steps of each side are in the order in
// which they can be taken: deletions, contents before their folder, then the
// rest in walk order.
type Plan struct {
	Far, Near []Step
	Conflicts []Conflict
	Agreed    []tree.Entry // equal on both sides already, and new to the baseline
	Forget    []string     // gone on both sides
}

// Options says how to merge.
type Options struct {
	Pristine bool // the far side never had a whole baseline
	// Ours are paths on which the near side is right, whatever the far side has.
	Ours map[string]bool
	// NoModes says that one of the sides cannot hold mode bits, so that a
	// difference in them is no conflict.
	NoModes bool
}

// item is what the three lists say of one path.
type item struct {
	path            string
	base, near, far *tree.Entry
	parent          int         // index of the folder, -1 in the root
	merged          *tree.Entry // nil: is to be gone
	blocked         bool        // no step for this path
	conflict        string
}

// Merge makes the plan. If there are conflicts there are no steps.
func Merge(base, near, far []tree.Entry, opt Options) Plan {
	if opt.Pristine {
		base = nil
	}
	items := join(base, near, far)
	for i := range items {
		items[i].decide(opt)
	}
	keepFolders(items)
	return collect(items)
}

// join lines the three lists up by path.
func join(base, near, far []tree.Entry) []item {
	items := make([]item, 0, max(len(base), len(near), len(far)))
	var above []int // the folders on the way to the current path
	for len(base)+len(near)+len(far) > 0 {
		it := item{parent: -1}
		first := false
		for _, list := range [][]tree.Entry{base, near, far} {
			if len(list) > 0 && (!first || tree.Compare(list[0].Path, it.path) < 0) {
				it.path, first = list[0].Path, true
			}
		}
		base = take(base, it.path, &it.base)
		near = take(near, it.path, &it.near)
		far = take(far, it.path, &it.far)
		dir := tree.Parent(it.path)
		for len(above) > 0 && items[above[len(above)-1]].path != dir {
			above = above[:len(above)-1]
		}
		if len(above) > 0 {
			it.parent = above[len(above)-1]
		}
		above = append(above, len(items))
		items = append(items, it)
	}
	return items
}

func take(list []tree.Entry, path string, to **tree.Entry) []tree.Entry {
	if len(list) > 0 && list[0].Path == path {
		*to = &list[0]
		return list[1:]
	}
	return list
}

// keepFolders lets no entry be without its folder: children come after their
// folders in items, so going backwards settles every child first.
func keepFolders(items []item) {
	for i := len(items) - 1; i >= 0; i-- {
		it := &items[i]
		if it.merged == nil || it.parent < 0 {
			continue
		}
		dir := &items[it.parent]
		switch {
		case dir.blocked:
			dir.clash("a special file took the place of a folder that something was put into on the other side")
		case dir.merged != nil && dir.merged.Kind == tree.Dir:
		case dir.merged != nil:
			dir.clash("became a " + dir.merged.Kind.String() + " on one side while something was put into the folder on the other")
		case dir.near != nil && dir.near.Kind == tree.Dir:
			dir.merged = dir.near
		case dir.far != nil && dir.far.Kind == tree.Dir:
			dir.merged = dir.far
		}
	}
}

func (it *item) clash(why string) {
	if it.conflict == "" {
		it.conflict = why
	}
}

func collect(items []item) Plan {
	var p Plan
	for i := range items {
		if it := &items[i]; it.conflict != "" {
			p.Conflicts = append(p.Conflicts, Conflict{it.path, it.conflict})
		}
	}
	if len(p.Conflicts) > 0 {
		return p
	}
	for i := len(items) - 1; i >= 0; i-- {
		it := &items[i]
		if it.blocked {
			continue
		}
		settles := it.merged == nil
		if goes(it.far, it.merged) {
			p.Far = append(p.Far, Step{Delete, *it.far, settles && it.near == nil})
		}
		if goes(it.near, it.merged) {
			p.Near = append(p.Near, Step{Delete, *it.near, settles && it.far == nil})
		}
	}
	for i := range items {
		it := &items[i]
		switch {
		case it.blocked:
		case it.merged == nil:
			if it.base != nil && it.near == nil && it.far == nil {
				p.Forget = append(p.Forget, it.path)
			}
		default:
			it.comes(&p)
		}
	}
	return p
}

func (it *item) comes(p *Plan) {
	nearOp, farOp := op(it.near, it.merged), op(it.far, it.merged)
	if farOp != 0 {
		p.Far = append(p.Far, Step{farOp, *it.merged, nearOp == 0})
	}
	if nearOp != 0 {
		p.Near = append(p.Near, Step{nearOp, *it.merged, farOp == 0})
	}
	if farOp == 0 && nearOp == 0 && (it.base == nil || *it.base != *it.merged) {
		p.Agreed = append(p.Agreed, *it.merged)
	}
}

// goes tells whether what is there has to be removed before, or instead of,
// anything else: a file or link is replaced in one go, a folder cannot be.
func goes(have, want *tree.Entry) bool {
	return have != nil && (want == nil || (have.Kind == tree.Dir) != (want.Kind == tree.Dir))
}

// op returns what makes want of have, 0 if nothing is to be done. Digests that
// are both unknown are equal here: see Unsure, two sides' entries that could be
// mistaken for each other have known ones, so this is one side's own entry.
func op(have, want *tree.Entry) Op {
	switch {
	case have == nil || have.Kind != want.Kind:
	case have.Size != want.Size || have.Digest != want.Digest || have.Target != want.Target:
	case have.Mode != want.Mode || have.MTime != want.MTime:
		return Meta
	default:
		return 0
	}
	if want.Kind == tree.File {
		return Write
	}
	return Make
}
