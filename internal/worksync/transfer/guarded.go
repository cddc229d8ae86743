package transfer

import (
	"fmt"
	"io"
	"strings"

	"outrigger.dev/outrigger/internal/worksync/guard"
	"outrigger.dev/outrigger/internal/worksync/tree"
)

// guarded returns what is to be merged on that base. In what the machine has no say, Back
// sees nothing and Up is right, whatever is there.
func (x *exchange) guarded(base []tree.Entry) (l guard.Lists, ours map[string]bool) {
	if x.guard == nil {
		x.setGuard()
	}
	l = guard.Lists{Base: base, Near: entries(x.nodes), Far: x.far}
	if x.up {
		return l, x.guard.Ours(l)
	}
	l = x.guard.Back(l)
	x.far = l.Far
	return l, nil
}

// judged leaves in a list what the machine has a say in.
func (x *exchange) judged(list []tree.Entry) []tree.Entry {
	if x.up || x.guard == nil {
		return list
	}
	return x.guard.Back(guard.Lists{Base: list}).Base
}

// setGuard looks at what the machine sent, and names in warnings what is left
// out of it.
func (x *exchange) setGuard() {
	far, excluded := guard.Excluded(x.far, x.matcher, func(path string) bool { _, ok := x.places[path]; return ok })
	x.far = far
	if !x.up && !x.cfg.TakeSetID {
		x.withheld("is setuid or setgid on the machine; taken back without that", x.dropSetID())
	}
	x.withheld("is excluded, and the machine sent it all the same; left out", excluded)
	l := guard.Lists{Base: entries(x.base.Nodes), Near: entries(x.nodes), Far: far}
	x.guard = guard.New(l, guard.Options{IgnoreFile: x.ignoreFile, TakeGit: x.cfg.TakeGit, Referred: x.referred(l.Near)})
	if x.up {
		return
	}
	for dir := range x.guard.Holders(l.Near) {
		if n, ok := x.node(dir); ok {
			n.Holds = true
		}
	}
	w := x.guard.Withheld(l)
	x.withheld("differs on the machine and is not taken back, because it says what is copied to it", w.IgnoreFile)
	x.withheld("differs on the machine and is not taken back, because Git would do what it says; --take-git-config takes it", w.Git)
}

// referred returns what Git's configuration here names in the folder. A file
// that cannot be read says nothing to Git either.
func (x *exchange) referred(near []tree.Entry) []string {
	var paths []string
	cursor := tree.NewCursor(x.root())
	defer cursor.Close()
	for _, path := range guard.Configs(near) {
		at, err := cursor.Folder(tree.Parent(path))
		if err != nil {
			continue
		}
		f, _, err := at.OpenFile(tree.Name(path))
		if err != nil {
			continue
		}
		b, err := io.ReadAll(io.LimitReader(f, guard.MaxConfig))
		f.Close()
		if err == nil {
			paths = append(paths, guard.Referred(x.cfg.Root, path, string(b))...)
		}
	}
	return paths
}

// dropSetID takes the bits from the machine's files by which others here would
// execute them as this user, and returns the paths. What this side had given
// the bits, and the machine did not change, keeps them.
func (x *exchange) dropSetID() []string {
	var paths []string
	for i := range x.far {
		e := &x.far[i]
		if e.Kind != tree.File || e.Mode&(tree.SetUID|tree.SetGID) == 0 {
			continue
		}
		if at, ok := tree.Find(x.base.Nodes, e.Path); ok {
			if b := &x.base.Nodes[at].Entry; b.Mode == e.Mode && b.Digest == e.Digest {
				continue
			}
		}
		e.Mode &^= tree.SetUID | tree.SetGID
		paths = append(paths, e.Path)
	}
	return paths
}

// namedInWarning is how many paths a warning names.
const namedInWarning = 10

// withheld warns of paths that were left out for a reason.
func (x *exchange) withheld(why string, paths []string) {
	if len(paths) == 0 {
		return
	}
	var names []string
	for i, path := range paths {
		if i == namedInWarning {
			names = append(names, fmt.Sprintf("and %d more", len(paths)-i))
			break
		}
		names = append(names, fmt.Sprintf("%q", path))
	}
	x.report.warn(strings.Join(names, ", ") + ": " + why)
}
