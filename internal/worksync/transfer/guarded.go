package transfer

import (
	"fmt"
	"strings"

	"outrigger.dev/outrigger/internal/worksync/guard"
)

// guarded returns what is to be merged. In what the machine has no say, Back
// sees nothing and Up is right, whatever is there.
func (x *exchange) guarded() (l guard.Lists, ours map[string]bool) {
	if x.guard == nil {
		x.setGuard()
	}
	l = guard.Lists{Base: entries(x.base.Nodes), Near: entries(x.nodes), Far: x.far}
	if !x.backwards {
		return l, x.guard.Ours(l)
	}
	l = x.guard.Back(l)
	x.far = l.Far
	return l, nil
}

// setGuard looks at what the machine sent, and names in warnings what is left
// out of it.
func (x *exchange) setGuard() {
	far, excluded := guard.Excluded(x.far, x.excluded, func(path string) bool { _, ok := x.places[path]; return ok })
	x.far = far
	x.withheld("is excluded, and the machine sent it all the same; left out", excluded)
	l := guard.Lists{Base: entries(x.base.Nodes), Near: entries(x.nodes), Far: far}
	x.guard = guard.New(l, guard.Options{IgnoreFile: x.ignoreFile, TakeGit: x.cfg.TakeGit})
	if !x.backwards {
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
