// Package plan decides what a sync has to do.
//
// It is arithmetic, not action: Merge reads three lists of entries in walk
// order (what both sides last agreed on, what the near side has, what the far
// side has), with what is known of each side that may stand against a step. It
// answers with the steps that would make the two equal, and with the paths on
// which they cannot be made equal without losing something; those stay as they
// are, and the others do not wait for them.
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
//     alone on both sides. So is what one side cannot read.
//   - A folder that holds what is not synced, or that is a mount point, stays a
//     folder: it is a conflict if something else is to take its place. Where only
//     files here that are not synced are in the way, that comes beside the folder.
//   - While the far side is pristine, never having been given a whole baseline,
//     all it has came from here, and the near side is right.
package plan

import (
	"fmt"
	"slices"

	"outrigger.dev/outrigger/internal/worksync/tree"
)

// An Op is what a step does.
type Op byte

// The operations.
const (
	Delete Op = iota + 1 // remove Entry, as it is now
	Make                 // make a folder or link
	Write                // write a file, replacing a file or link
	Meta                 // set mode and modification time of what is there
	Aside                // rename what is there, Entry, to To
)

// String returns the operation in words.
func (o Op) String() string {
	return [...]string{"nothing", "delete", "make", "write", "set", "put aside"}[o]
}

// A Step changes one path on one side.
type Step struct {
	Op    Op
	Entry tree.Entry // as it is to be; for Delete as it is
	// Settles says that after this step both sides have Entry (after Delete:
	// neither has), so that it belongs in (out of) the baseline.
	Settles bool
	From    string // of Make and Write: where the other side has it, if that is not at Entry's path
	To      string // of Aside
}

// Source is where the other side has what the step brings.
func (s *Step) Source() string {
	if s.From != "" {
		return s.From
	}
	return s.Entry.Path
}

// A Conflict is a path on which the two sides cannot be brought together.
type Conflict struct {
	Path string
	Why  string
}

// An Unknown is a path that one side cannot read, so that nobody can tell what
// is to be done about it, nor about all that is in it.
type Unknown struct {
	Path string
	Why  string
	Here bool // it is the near side that cannot read it
	// News says that the other side has something new for it.
	News bool
}

// A Plan is the outcome of a merge. The steps of each side are in the order in
// which they can be taken: deletions, contents before their folder, then the
// rest in walk order. There is no step at what is in conflict or unknown, nor for
// anything that hangs together with it: what is in a folder that became a file on
// one side, or the folder around what has to stay.
type Plan struct {
	Far, Near []Step
	Conflicts []Conflict
	Decided   []Conflict // would be conflicts, but Options.Prefer has decided them
	Beside    []Beside   // would be, but Options.Prefer has both versions kept
	Unknown   []Unknown
	Agreed    []tree.Entry // equal on both sides already, and new to the baseline
	Forget    []string     // gone on both sides
	// HeldFar and HeldNear are folders that were to go on a side, and stay because
	// they hold what is not synced.
	HeldFar, HeldNear []string
}

// A Beside is a path of which both versions are kept: the near side's, and the
// far side's with all that is in it under another name.
type Beside struct {
	Path, To, Why string
	// Gone are those in the baseline at and below Path that the far side lacks.
	Gone []string
}

// AsideSuffix is what the name of the far side's version ends with, followed by
// a number from the second one on.
const AsideSuffix = ".outrigger-there"

// A Side is what one side has.
type Side struct {
	Entries []tree.Entry      // in walk order
	Unknown map[string]string // entries that cannot be read, and why; of a folder all that is in it
	Holds   map[string]bool   // folders with something directly in them that is not synced
	Fixed   map[string]bool   // entries that something holds in place, such as mount points
}

// Prefer says which side is right about a path in conflict.
type Prefer byte

// The preferences.
const (
	Neither Prefer = iota // it stays as it is on both sides
	Near
	Far
	Both // the far side's version comes beside the near side's
)

// Options says how to merge.
type Options struct {
	Pristine bool // the far side never had a whole baseline
	// Ours are paths on which the near side is right, whatever the far side has.
	Ours map[string]bool
	// NoModes says that one of the sides cannot hold mode bits, so that a
	// difference in them is no conflict.
	NoModes bool
	Prefer  Prefer
	// Up says that it is the far side that will be changed: how two versions are
	// kept depends on it.
	Up bool
}

// item is what the three lists say of one path.
type item struct {
	path            string
	base, near, far *tree.Entry
	parent          int         // index of the folder, -1 in the root
	merged          *tree.Entry // nil: is to be gone
	blocked         bool        // no step for this path
	conflict        string
	unknown         *Unknown // it, or a folder that it is in
	// The near or far side's entry cannot go, because of what it is or holds.
	fastNear, fastFar bool
	// tiedNear says that more than files that are not synced keep it from going.
	tiedNear bool
	kept     bool   // blocked only for what is not synced
	wanted   bool   // something below is to be on both sides
	whole    bool   // what is in it shares its fate:
	winner   Prefer // the side that is right about all of it; Neither: it is blocked
	beside   *Beside
}

// Merge makes the plan.
func Merge(base []tree.Entry, near, far Side, opt Options) Plan {
	if opt.Pristine {
		base = nil
	}
	items := join(base, near.Entries, far.Entries)
	for i := range items {
		it := &items[i]
		it.fastNear = near.fast(it.near)
		it.fastFar = far.fast(it.far)
		it.tiedNear = near.Fixed[it.path]
		if it.near != nil && it.far == nil && near.Fixed[it.path] {
			it.base = nil // it cannot go from here, so it is made there again
		}
		if it.look(items, near, far); it.unknown == nil {
			it.decide(opt)
		}
	}
	// Children come after their folders in items, so going backwards settles
	// every child first.
	for i := len(items) - 1; i >= 0; i-- {
		items[i].settle(opt)
		if it := &items[i]; it.parent >= 0 {
			items[it.parent].hear(it)
		}
	}
	for i := range items {
		if it := &items[i]; it.parent >= 0 && items[it.parent].whole {
			it.follow(&items[it.parent])
		}
	}
	return collect(items, near, far, opt)
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

// look finds out whether the path can be told apart at all.
func (it *item) look(items []item, near, far Side) {
	if it.parent >= 0 {
		it.unknown = items[it.parent].unknown
	}
	why, here := near.Unknown[it.path]
	if !here {
		var there bool
		if why, there = far.Unknown[it.path]; !there && it.unknown == nil {
			return
		}
	}
	if it.unknown == nil {
		it.unknown = &Unknown{Path: it.path, Why: why, Here: here}
	}
	it.blocked = true
	other := it.near
	if it.unknown.Here {
		other = it.far
	}
	if (other == nil) != (it.base == nil) || other != nil && material(it.base, other) {
		it.unknown.News = true
	}
}

// settle decides about a path when all that is below it is settled.
func (it *item) settle(opt Options) {
	switch {
	case it.blocked && it.wanted && it.unknown == nil && !(isDir(it.near) && isDir(it.far)):
		it.clash("a special file took the place of a folder that something was put into on the other side")
		it.whole = true
	case it.blocked || it.conflict != "":
	case !opt.Up && it.merged != nil && stands(it.near, it.fastNear, it.merged) && !it.tiedNear && !it.fastFar && !it.wanted:
		// Only files that are not synced are in the way: nobody wants them gone, and
		// nobody wants to do without what the other side made.
		it.blocked, it.whole = true, true
		it.beside = &Beside{Path: it.path, Why: "became a " + it.merged.Kind.String() +
			" on the machine, and the folder here holds files that are not synced"}
	case it.merged != nil && (stands(it.near, it.fastNear, it.merged) || stands(it.far, it.fastFar, it.merged)):
		it.clash("became a " + it.merged.Kind.String() + " on one side, and has to stay on the other because of what it is or holds")
	case isDir(it.merged):
	case it.merged == nil && it.wanted:
		it.merged = it.near
		if !isDir(it.near) {
			it.merged = it.far
		}
	case it.merged == nil && (it.fastNear || it.fastFar):
		it.blocked, it.kept = true, !it.tiedNear
	case it.merged != nil && it.wanted:
		it.clash("became a " + it.merged.Kind.String() + " on one side while something was put into the folder on the other")
	}
	if it.conflict != "" && !it.blocked {
		it.resolve(opt)
	}
}

// resolve lets one side be right about a conflict, if nothing on the other has
// to stay.
func (it *item) resolve(opt Options) {
	it.whole = !(isDir(it.near) && isDir(it.far))
	prefer := opt.Prefer
	if prefer == Both {
		switch {
		case it.near == nil:
			prefer = Far
		case it.far == nil, sameContent(it.near, it.far):
			prefer = Near
		case !it.fastFar && !(opt.Up && it.fastNear):
			it.whole, it.beside = true, &Beside{Path: it.path, Why: it.conflict}
		}
	}
	switch {
	case prefer == Near && !(it.whole && it.fastFar):
		it.merged, it.winner = it.near, Near
	case prefer == Far && !(it.whole && it.fastNear):
		it.merged, it.winner = it.far, Far
	default:
		it.blocked = true
	}
}

// hear tells a folder what becomes of something in it.
func (it *item) hear(child *item) {
	switch {
	case child.blocked:
		it.fastNear = it.fastNear || child.near != nil
		it.tiedNear = it.tiedNear || child.near != nil && !child.kept
		it.fastFar = it.fastFar || child.far != nil
	case child.merged != nil:
		it.wanted = true
	}
	it.fastNear = it.fastNear || child.near != nil && child.fastNear
	it.tiedNear = it.tiedNear || child.near != nil && child.tiedNear
	it.fastFar = it.fastFar || child.far != nil && child.fastFar
}

// follow makes what is in a folder share its fate.
func (it *item) follow(folder *item) {
	it.whole, it.winner, it.conflict, it.beside = true, folder.winner, "", folder.beside
	it.blocked = it.winner == Neither || it.unknown != nil || special(it.near) || special(it.far)
	if it.merged = it.near; it.winner == Far {
		it.merged = it.far
	}
}

func (it *item) clash(why string) {
	if it.conflict == "" {
		it.conflict = why
	}
}

func isDir(e *tree.Entry) bool { return e != nil && e.Kind == tree.Dir }

// fast tells whether a side's entry cannot go.
func (s *Side) fast(e *tree.Entry) bool {
	return e != nil && (s.Fixed[e.Path] || e.Kind == tree.Dir && s.Holds[e.Path])
}

// stands tells whether have, which cannot go, is in the way of want.
func stands(have *tree.Entry, fast bool, want *tree.Entry) bool {
	return fast && have != nil && have.Kind != want.Kind
}

func collect(items []item, near, far Side, opt Options) Plan {
	var p Plan
	for i := range items {
		it := &items[i]
		switch {
		case it.unknown != nil && it.unknown.Path == it.path:
			p.Unknown = append(p.Unknown, *it.unknown)
		case it.beside != nil:
			if it.path == it.beside.Path {
				it.beside.To = free(items, it.path)
			}
			if it.base != nil && it.far == nil {
				it.beside.Gone = append(it.beside.Gone, it.path)
			}
		case it.conflict != "" && it.blocked:
			p.Conflicts = append(p.Conflicts, Conflict{it.path, it.conflict})
		case it.conflict != "":
			p.Decided = append(p.Decided, Conflict{it.path, it.conflict})
		case it.blocked && !it.whole && it.near == nil && isDir(it.far) && far.Holds[it.path]:
			p.HeldFar = append(p.HeldFar, it.path)
		case it.blocked && !it.whole && it.far == nil && isDir(it.near) && near.Holds[it.path]:
			p.HeldNear = append(p.HeldNear, it.path)
		}
	}
	for i := len(items) - 1; i >= 0; i-- {
		it := &items[i]
		if it.blocked {
			continue
		}
		settles := it.merged == nil
		if goes(it.far, it.merged) {
			p.Far = append(p.Far, Step{Op: Delete, Entry: *it.far, Settles: settles && it.near == nil})
		}
		if goes(it.near, it.merged) {
			p.Near = append(p.Near, Step{Op: Delete, Entry: *it.near, Settles: settles && it.far == nil})
		}
	}
	for i := range items {
		it := &items[i]
		switch {
		case it.beside != nil && opt.Up:
			it.makeRoom(&p)
		case it.beside != nil:
			it.bringBeside(&p)
		case it.blocked:
		case it.merged == nil:
			if it.base != nil && it.near == nil && it.far == nil {
				p.Forget = append(p.Forget, it.path)
			}
		default:
			it.comes(&p)
		}
	}
	for i := range items {
		if it := &items[i]; it.beside != nil && it.beside.Path == it.path {
			p.Beside = append(p.Beside, *it.beside)
		}
	}
	return p
}

// free returns a name beside path that nothing has.
func free(items []item, path string) string {
	for n := 1; ; n++ {
		to := path + AsideSuffix
		if n > 1 {
			to = fmt.Sprint(to, "-", n)
		}
		if _, taken := slices.BinarySearchFunc(items, to, func(it item, to string) int { return tree.Compare(it.path, to) }); !taken {
			return to
		}
	}
}

// makeRoom puts the far side's version aside, and the near side's in its place.
func (it *item) makeRoom(p *Plan) {
	if it.path == it.beside.Path {
		p.Far = append(p.Far, Step{Op: Aside, Entry: *it.far, To: it.beside.To})
	}
	switch {
	case it.near != nil:
		p.Far = append(p.Far, Step{Op: op(nil, it.near), Entry: *it.near, Settles: true})
	case it.base != nil:
		p.Forget = append(p.Forget, it.path)
	}
}

// bringBeside brings the far side's version under its other name.
func (it *item) bringBeside(p *Plan) {
	if it.far == nil {
		return
	}
	e := *it.far
	e.Path = it.beside.To + e.Path[len(it.beside.Path):]
	p.Near = append(p.Near, Step{Op: op(nil, it.far), Entry: e, From: it.path})
}

func (it *item) comes(p *Plan) {
	nearOp, farOp := op(it.near, it.merged), op(it.far, it.merged)
	if farOp != 0 {
		p.Far = append(p.Far, Step{Op: farOp, Entry: *it.merged, Settles: nearOp == 0})
	}
	if nearOp != 0 {
		p.Near = append(p.Near, Step{Op: nearOp, Entry: *it.merged, Settles: farOp == 0})
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
