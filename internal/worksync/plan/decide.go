package plan

import "outrigger.dev/outrigger/internal/worksync/tree"

// decide merges one path.
func (it *item) decide(opt Options) {
	b, n, f := it.base, it.near, it.far
	switch {
	case (opt.Pristine || opt.Ours[it.path]) && !special(n) && !special(f):
		it.merged = n
		if n != nil && f != nil && sameContent(n, f) {
			it.merged = withDigest(n, f)
		}
	case special(n) || special(f):
		it.decideSpecial(opt)
	case n == nil && f == nil:
	case n == nil || f == nil:
		it.decideOneSided()
	case sameContent(n, f):
		it.mergeMeta(opt)
	case b != nil && !material(b, n):
		it.merged = f // the near side changed at most the modification time
	case b != nil && !material(b, f):
		it.merged = n
	case b != nil && b.Kind == tree.File && n.Kind == tree.File && f.Kind == tree.File:
		it.mergeFile(opt)
	default:
		it.clash(both(b, n, f))
	}
}

func special(e *tree.Entry) bool { return e != nil && e.Kind == tree.Special }

// decideSpecial leaves the path alone: we cannot make such a file on the other
// side, and must not take the place of this one.
func (it *item) decideSpecial(opt Options) {
	it.blocked = true
	other, side := it.far, "near"
	if !special(it.near) {
		other, side = it.near, "far"
	}
	switch {
	case other == nil || special(other):
	case it.base != nil && !material(it.base, other):
	case opt.Pristine && special(it.near):
	default:
		it.clash("a special file took its place on the " + side + " side")
		it.whole = true
	}
}

// decideOneSided is for a path that one side lacks: it is new on the other one,
// or was deleted here. If the other side put another kind of thing there, then
// both agreed that the old one goes; this is also what a sync looks like that
// was cut off between the deletion of a folder and the file in its place.
func (it *item) decideOneSided() {
	have := it.near
	if have == nil {
		have = it.far
	}
	switch {
	case it.base == nil || it.base.Kind != have.Kind:
		it.merged = have
	case material(it.base, have):
		it.clash("deleted on one side, " + verb(it.base, have) + " on the other")
	}
}

// mergeMeta is for two entries that agree on everything but perhaps mode and
// modification time.
func (it *item) mergeMeta(opt Options) {
	b, n, f := it.base, it.near, it.far
	e := *withDigest(n, f)
	it.merged = &e
	if b == nil || b.Kind != n.Kind {
		return // made on both sides: the near side's mode and time
	}
	it.merged.Mode = it.mergeMode(opt)
	it.merged.MTime = n.MTime
	if n.MTime == b.MTime {
		it.merged.MTime = f.MTime
	}
}

// mergeFile is for a file that both sides changed in some way and whose
// content differs.
func (it *item) mergeFile(opt Options) {
	b, n, f := it.base, it.near, it.far
	var e tree.Entry
	switch {
	case sameContent(b, f):
		e = *n
	case sameContent(b, n):
		e = *f
	default:
		it.clash("changed on both sides")
		return
	}
	e.Mode = it.mergeMode(opt)
	it.merged = &e
}

func (it *item) mergeMode(opt Options) uint32 {
	b, n, f := it.base, it.near, it.far
	switch {
	case n.Mode == f.Mode || f.Mode == b.Mode:
		return n.Mode
	case n.Mode == b.Mode:
		return f.Mode
	case !opt.NoModes:
		it.clash("mode changed on both sides")
	}
	return n.Mode
}

// material tells whether two entries differ in more than the modification time.
func material(a, b *tree.Entry) bool { return !sameContent(a, b) || a.Mode != b.Mode }

// sameContent tells whether two entries are of one kind and hold the same.
// Files of one size whose digests are not both known count as different;
// Unsure names those before it matters.
func sameContent(a, b *tree.Entry) bool {
	if a.Kind != b.Kind {
		return false
	}
	switch a.Kind {
	case tree.File:
		return a.Size == b.Size && a.Digest.Known() && a.Digest == b.Digest
	case tree.Link:
		return a.Target == b.Target
	}
	return true
}

// withDigest returns n; f has the same content, so either digest is right.
func withDigest(n, f *tree.Entry) *tree.Entry {
	if n.Digest.Known() {
		return n
	}
	e := *n
	e.Digest = f.Digest
	return &e
}

func both(b, n, f *tree.Entry) string {
	if b == nil {
		return "made on both sides: a " + n.Kind.String() + " here, a " + f.Kind.String() + " there"
	}
	if n.Kind == f.Kind {
		return "changed on both sides"
	}
	return "changed on both sides: now a " + n.Kind.String() + " here, a " + f.Kind.String() + " there"
}

func verb(b, e *tree.Entry) string {
	switch {
	case b.Kind != e.Kind:
		return "became a " + e.Kind.String()
	case sameContent(b, e):
		return "changed its mode"
	}
	return "changed"
}

// Unsure returns the paths on which the merge depends on digests that are not
// known: files of one size on both sides that may or may not be equal.
func Unsure(near, far []tree.Entry) []string {
	var paths []string
	for _, it := range join(nil, near, far) {
		n, f := it.near, it.far
		if n == nil || f == nil || n.Kind != tree.File || f.Kind != tree.File || n.Size != f.Size {
			continue
		}
		if !n.Digest.Known() || !f.Digest.Known() {
			paths = append(paths, it.path)
		}
	}
	return paths
}
