package transfer

import (
	"fmt"
	"slices"
	"strings"

	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/worksync/baseline"
	"outrigger.dev/outrigger/internal/worksync/tree"
)

// Absence needs a witness. A path that a side lacks was deleted there, or lost
// with the side's memory, its disk or half of its files, and only the first is
// to be mirrored. So:
//
//   - What is missing on the machine is taken for deleted if at most half of what
//     was agreed on is missing, or if a run of ours worked on it and left it so.
//     Before a run, and without one, anything more is brought there again.
//   - What is missing here is taken for deleted, unless nothing is left, or less
//     than half and some: then nothing moves.
//   - Without a baseline in common nothing is missing; but what the machine has as
//     it once was agreed on is older than what is here.

// fewLost is how many entries may go here, of however many, without a question.
const fewLost = 10

// tooFew tells whether a folder that held before entries lost so many of them
// that it is more likely that something happened to it.
func tooFew(now, before int) bool {
	return now == 0 && before > 0 || 2*now < before && before-now > fewLost
}

// mostLost tells whether more than half of what was agreed on is missing there.
func mostLost(lost, before int) bool { return 2*lost > before }

// checkHere stops an operation that would take a folder that was lost here for
// one whose files were deleted.
func (x *exchange) checkHere(near []tree.Entry) error {
	before := len(x.wanted(x.open(entries(x.lastAgreed()))))
	now := len(near)
	if x.cfg.AllowHere || !tooFew(now, before) || !x.up && now > 0 {
		return nil
	}
	return fault.New(fault.TooManyDeletions, "sync: %s holds %d files and folders here, and held %d when it was last synced; "+
		"nothing was moved", x.cfg.Root, now, before)
}

// open leaves out what is in folders that cannot be read now.
func (x *exchange) open(all []tree.Entry) []tree.Entry {
	closed := map[string]bool{}
	for i := range x.nodes {
		if x.nodes[i].Closed != "" {
			closed[x.nodes[i].Path] = true
		}
	}
	if len(closed) == 0 {
		return all
	}
	return slices.DeleteFunc(all, func(e tree.Entry) bool {
		for dir := tree.Parent(e.Path); dir != ""; dir = tree.Parent(dir) {
			if closed[dir] {
				return true
			}
		}
		return false
	})
}

// lastAgreed is what this side agreed on last.
func (x *exchange) lastAgreed() []tree.Node {
	if x.last.ID != (baseline.ID{}) {
		return x.last.Nodes
	}
	return x.base.Nodes
}

// wanted leaves out what is excluded now, and so is missing for another reason.
func (x *exchange) wanted(all []tree.Entry) []tree.Entry {
	out := make([]tree.Entry, 0, len(all))
	skip := "" // the folder that is excluded with all that is in it
	for _, e := range all {
		if skip != "" && strings.HasPrefix(e.Path, skip) {
			continue
		}
		skip = ""
		switch {
		case !x.matcher.Match(e.Path, e.Kind == tree.Dir):
			out = append(out, e)
		case e.Kind == tree.Dir:
			skip = e.Path + "/"
		}
	}
	return out
}

// mergeBase returns what the merge is to take for agreed on.
func (x *exchange) mergeBase(near []tree.Entry) []tree.Entry {
	if x.base.ID == (baseline.ID{}) {
		return x.onceAgreed(near)
	}
	base := entries(x.base.Nodes)
	if x.last.ID != x.base.ID {
		base = overtaken(base, entries(x.last.Nodes), x.far)
	}
	return x.refill(base, near)
}

// refill forgets that what most of is missing on the machine was ever agreed
// on: then it is new here, and is brought there again.
func (x *exchange) refill(base, near []tree.Entry) []tree.Entry {
	lost := map[string]bool{}
	before := x.wanted(x.judged(base))
	for _, e := range before {
		if has(x.far, e.Path) {
			continue
		}
		if has(near, e.Path) {
			lost[e.Path] = true
		}
	}
	if len(lost) == 0 || !mostLost(len(lost), len(before)) || x.cfg.AllowThere || !x.up && x.state.Believed {
		return base
	}
	if x.up {
		x.report.warn(fmt.Sprintf("%d of %d files and folders had gone from the machine since the last sync; "+
			"they are brought there again", len(lost), len(before)))
	} else {
		x.leave(Left{Path: ".", Why: fmt.Sprintf("%d of %d files and folders are gone from the machine, and no run of ours "+
			"deleted them; they stay here", len(lost), len(before))})
	}
	return slices.DeleteFunc(base, func(e tree.Entry) bool { return lost[e.Path] })
}

// onceAgreed is the base if the two sides have none in common, because one of
// them lost its own or the machine is an older self: what the machine has as it
// was agreed on once. If we remember nothing ourselves, what is only there stays.
func (x *exchange) onceAgreed(near []tree.Entry) []tree.Entry {
	var base []tree.Entry
	for _, e := range x.far {
		if !x.list.agreed[e.Path] {
			continue
		}
		if has(near, e.Path) || x.last.ID != (baseline.ID{}) {
			base = append(base, e)
		}
	}
	if gone := len(x.wanted(x.judged(entries(x.last.Nodes)))); !x.up && len(x.far) == 0 && gone > 0 {
		x.leave(Left{Path: ".", Why: fmt.Sprintf("nothing is left of the folder on the machine, where %d files and folders were; "+
			"they stay here", gone)})
	}
	return base
}

// overtaken is the base if the machine is one generation behind: where it has
// what we agreed on since, that is the base.
func overtaken(base, last, far []tree.Entry) []tree.Entry {
	var out []tree.Entry
	for len(base)+len(last)+len(far) > 0 {
		path, first := "", true
		for _, list := range [][]tree.Entry{base, last, far} {
			if len(list) > 0 && (first || tree.Compare(list[0].Path, path) < 0) {
				path, first = list[0].Path, false
			}
		}
		var b, l, f *tree.Entry
		base, b = next(base, path)
		last, l = next(last, path)
		far, f = next(far, path)
		switch {
		case f != nil && l != nil && sameButTime(*f, *l):
			out = append(out, *f)
		case f == nil && l == nil: // gone by agreement
		case b != nil:
			out = append(out, *b)
		}
	}
	return out
}

// sameButTime tells whether two entries differ in their modification time at most.
func sameButTime(a, b tree.Entry) bool {
	a.MTime = b.MTime
	return a == b
}

// next takes the first entry of a list if it is that of path.
func next(list []tree.Entry, path string) ([]tree.Entry, *tree.Entry) {
	if len(list) > 0 && list[0].Path == path {
		return list[1:], &list[0]
	}
	return list, nil
}

// has tells whether there is an entry at path in a list in walk order.
func has(list []tree.Entry, path string) bool {
	_, ok := slices.BinarySearchFunc(list, path, func(e tree.Entry, path string) int { return tree.Compare(e.Path, path) })
	return ok
}
