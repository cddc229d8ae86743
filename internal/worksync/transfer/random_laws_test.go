//go:build unix

package transfer_test

import (
	"maps"
	"path"
	"slices"
	"strings"

	"outrigger.dev/outrigger/internal/worksync/plan"
)

// A verdict is what two operations may have made of two trees.
type verdict struct {
	*forest
	want          world
	conflicts     map[string]bool // the topmost paths of each
	named         map[string]bool
	linked        map[string]bool // files of several names, which share mode and time
	closed        [2]map[string]bool
	before, after [2]world
}

// judge holds two operations to the model: what is excluded is as it was; what is named or cannot be read is as it was, with all
// that is in it; a conflict came out as the policy says; everything else is as the model has it.
func (f *forest) judge(v *verdict) {
	f.t.Helper()
	v.forest = f
	var conflicts map[string]bool
	v.want, conflicts = merge(f.base, v.visible(0), v.visible(1))
	v.conflicts = map[string]bool{}
	for p := range conflicts {
		if p = v.top(p, conflicts); p != "" {
			v.conflicts[p] = true
		}
	}
	for p := range v.conflicts {
		if f.prefer == plan.Neither && !v.within(p, v.named) && !v.around(p) && !v.touchy(p) {
			f.t.Errorf("round %d: conflict on %q is not named by %v", f.round, p, v.named)
		}
	}
	all := map[string]bool{}
	for _, w := range []world{v.want, v.before[0], v.before[1], v.after[0], v.after[1]} {
		for p := range w {
			all[p] = true
		}
	}
	for _, p := range slices.Sorted(maps.Keys(all)) {
		for side := range 2 {
			v.one(p, side)
		}
	}
	v.policy()
}

// visible is what a side has and does not leave alone.
func (v *verdict) visible(side int) world {
	w := maps.Clone(v.before[side])
	maps.DeleteFunc(w, func(p string, _ thing) bool { return v.excluded(v.before[side], p) || resting(p) })
	return w
}

// top returns the topmost of the conflicts that decides about p: two folders whose modes differ decide about nothing in them,
// and what is in a folder that is another thing on the other side shares its fate.
func (v *verdict) top(p string, conflicts map[string]bool) string {
	top := ""
	for at := p; at != "."; at = path.Dir(at) {
		here, there := v.before[0][at].kind, v.before[1][at].kind
		if conflicts[at] && (at == p || here != "dir" || there != "dir") ||
			top != "" && here != there && here != "" && there != "" {
			top = at
		}
	}
	return top
}

func (v *verdict) within(p string, set map[string]bool) bool {
	for ; p != "."; p = path.Dir(p) {
		if set[p] {
			return true
		}
	}
	return set["."]
}

// left tells that p or what it is in was named. What is in two folders that are named for their modes is not left.
func (v *verdict) left(p string) bool {
	for at := p; at != "."; at = path.Dir(at) {
		modes := at != p && v.conflicts[at] && v.before[0][at].kind == "dir" && v.before[1][at].kind == "dir"
		if v.named[at] && !modes {
			return true
		}
	}
	return v.named["."]
}

// shut tells that p could be read before the operations, and is in nothing that was named but what they have shut: they bring
// a mode that keeps the owner out, and put something into a folder that could be read as long as it was empty.
func (v *verdict) shut(p string) bool {
	if v.within(p, v.closed[0]) || v.within(p, v.closed[1]) || !v.within(p, v.named) || v.named["."] {
		return false
	}
	for at := p; at != "."; at = path.Dir(at) {
		if v.named[at] && !v.shutNow(at) {
			return false
		}
	}
	return true
}

// shutNow tells that p or something in it, or a folder of it, is closed on a side now and was not before, or has got a mode
// from the other side that keeps its owner out.
func (v *verdict) shutNow(p string) bool {
	for side := range 2 {
		if now := v.after[side][p]; now.kind == "dir" && now.mode&0o500 != 0o500 && now.mode != v.before[side][p].mode {
			return true
		}
		for q := range shutIn(v.after[side]) {
			if !v.closed[side][q] && (q == p || strings.HasPrefix(q, p+"/") || strings.HasPrefix(p, q+"/")) {
				return true
			}
		}
	}
	return false
}

// touchy tells that p, something in it or a folder of it is excluded, cannot be read or is restless on one of the sides.
func (v *verdict) touchy(p string) bool {
	if v.within(p, v.closed[0]) || v.within(p, v.closed[1]) || resting(p) {
		return true
	}
	for side := range 2 {
		for q := range v.before[side] {
			if q != p && !strings.HasPrefix(q, p+"/") && !strings.HasPrefix(p, q+"/") {
				continue
			}
			if v.closed[side][q] || v.excluded(v.before[side], q) {
				return true
			}
		}
	}
	return v.excluded(v.before[0], p) || v.excluded(v.before[1], p)
}

// around tells that something in p was named.
func (v *verdict) around(p string) bool {
	for n := range v.named {
		if strings.HasPrefix(n, p+"/") {
			return true
		}
	}
	return false
}

// decided tells that the policy decides about something in p.
func (v *verdict) decided(p string) bool {
	for q := range v.conflicts {
		if v.prefer != plan.Neither && strings.HasPrefix(q, p+"/") {
			return true
		}
	}
	return false
}

// caught tells that p is in something that is a folder on one side only, and that holds there what has to stay, or what
// the policy decides about.
func (v *verdict) caught(p string) bool {
	for ; p != "."; p = path.Dir(p) {
		if v.before[0][p].kind != v.before[1][p].kind && (v.touchy(p) || v.decided(p)) {
			return true
		}
	}
	return false
}

// one judges what became of one path on one side.
func (v *verdict) one(p string, side int) {
	v.t.Helper()
	got, is := v.after[side][p]
	had, was := v.before[side][p]
	m, wanted := v.want[p]
	same := is == was && (got == had || v.linked[p] && got.sameStuff(had))
	right := is == wanted && (got == m || v.linked[p] && got.sameStuff(m))
	name := []string{"near", "far"}[side]
	switch {
	case resting(p):
	case was && v.excluded(v.before[side], p):
		if !same {
			v.t.Errorf("round %d, %s: %q is excluded and is %v %.60v, was %v %.60v", v.round, name, p, is, got, was, had)
		}
	case !was && is && v.excluded(v.after[side], p):
		v.t.Errorf("round %d, %s: %q is excluded and came", v.round, name, p)
	case v.shut(p) && (same || right):
	case v.within(p, v.closed[0]), v.within(p, v.closed[1]), v.left(p):
		if !same {
			v.t.Errorf("round %d, %s: %q was to be left and is %v %.60v, was %v %.60v", v.round, name, p, is, got, was, had)
		}
	case v.within(p, v.conflicts): // the policy decides
	case strings.Contains(p, plan.AsideSuffix) && !was: // it decides here too
	case (v.decided(p) || v.caught(p)) && (got == v.before[0][p] || got == v.before[1][p]): // with what is in it
	case (v.around(p) || v.touchy(p)) && same:
	case v.touchy(p) && is && got.kind == "dir": // around what had to stay
	case !right:
		v.t.Errorf("round %d, %s: %q is %v %.60v, want %v %.60v; was %v %.60v, agreed on %.60v", v.round, name, p, is, got, wanted, m, was, had, v.base[p])
	}
}

// policy judges the conflicts that were decided.
func (v *verdict) policy() {
	v.t.Helper()
	if v.prefer == plan.Neither {
		return
	}
	for p := range v.conflicts {
		if v.within(p, v.named) || v.around(p) || v.touchy(p) {
			continue
		}
		_, here := v.before[0][p]
		_, there := v.before[1][p]
		right := 0
		if v.prefer == plan.Far || v.prefer == plan.Both && !here {
			right = 1
		}
		dirs := v.before[0][p].kind == "dir" && v.before[1][p].kind == "dir"
		for side := range 2 {
			if !dirs && !sameStuff(below(v.before[right], p), below(v.after[side], p)) {
				v.t.Errorf("round %d: conflict on %q: side %d is not as the one that is right, %d", v.round, p, side, right)
			}
		}
		if v.prefer == plan.Both && here && there && !v.before[0][p].sameStuff(v.before[1][p]) {
			v.beside(p)
		}
	}
}

// beside holds that the far version of a path is kept beside the near one, on both sides.
func (v *verdict) beside(p string) {
	v.t.Helper()
	lost := below(v.before[1], p)
	for side := range 2 {
		found := false
		for q := range v.after[side] {
			if path.Dir(q) == path.Dir(p) && strings.HasPrefix(q, p+plan.AsideSuffix) && sameStuff(lost, below(v.after[side], q)) {
				found = true
			}
		}
		if !found {
			v.t.Errorf("round %d: conflict on %q: side %d lacks the far version", v.round, p, side)
		}
	}
}

// below is a part of a tree, with paths from there.
func below(w world, p string) world {
	part := world{}
	for q, m := range w {
		if q == p || strings.HasPrefix(q, p+"/") {
			part[strings.TrimPrefix(q, p)] = m
		}
	}
	return part
}

func sameStuff(a, b world) bool { return maps.EqualFunc(a, b, thing.sameStuff) }

// judgeOwners holds that what was not changed keeps its owner.
func (f *forest) judgeOwners(owners [2]map[string]int, before, after [2]world) {
	f.t.Helper()
	for side, root := range []string{f.near, f.far} {
		now := f.owners(root)
		for p, uid := range owners[side] {
			if m, ok := after[side][p]; ok && m == before[side][p] && now[p] != uid {
				f.t.Errorf("round %d: %q was not changed, and belongs to %d, not to %d any more", f.round, p, now[p], uid)
			}
		}
	}
}
