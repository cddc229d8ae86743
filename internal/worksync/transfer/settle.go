package transfer

import (
	"context"
	"runtime"
	"slices"
	"strings"

	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/worksync/baseline"
	"outrigger.dev/outrigger/internal/worksync/names"
	"outrigger.dev/outrigger/internal/worksync/pack"
	"outrigger.dev/outrigger/internal/worksync/plan"
	"outrigger.dev/outrigger/internal/worksync/tree"
)

// plan merges what both sides have. A fault of kind Conflict has the names in
// its detail; nothing has been moved then, and the operation is over.
func (x *exchange) plan(ctx context.Context, raw []tree.Node) (plan.Plan, error) {
	if err := x.relate(ctx, raw); err != nil {
		return plan.Plan{}, x.giveUp(err)
	}
	for i := range x.nodes {
		if x.nodes[i].Kind == tree.Special {
			x.report.passedOver(&x.nodes[i])
		}
	}
	if x.quiet() {
		return plan.Plan{}, nil
	}
	var err error
	if x.far, x.places, err = x.list.over(x.base.Nodes); err != nil {
		return plan.Plan{}, err
	}
	if err := x.checkHere(entries(x.nodes)); err != nil {
		return plan.Plan{}, x.giveUp(err)
	}
	l, _ := x.guarded(entries(x.base.Nodes))
	unsure := x.unsure(l.Near)
	if len(unsure) > 0 {
		if err := x.learn(ctx, unsure); err != nil {
			return plan.Plan{}, err
		}
	}
	// Of what is withheld nothing is missing: it is in none of the lists.
	l, ours := x.guarded(x.mergeBase(x.judged(entries(x.nodes))))
	p := plan.Merge(l.Base, l.Near, x.far, plan.Options{
		Pristine: x.pristine(),
		Ours:     ours,
		NoModes:  x.state.Ways.NoModes || runtime.GOOS == "windows",
	})
	if len(p.Conflicts) > 0 {
		return p, x.giveUp(conflict(p.Conflicts))
	}
	return p, nil
}

// unsure returns the paths whose digests decide something: whether both sides
// have the same, and whether the machine has what we last agreed on.
func (x *exchange) unsure(near []tree.Entry) []string {
	unsure := plan.Unsure(near, x.far)
	if x.last.ID == x.base.ID {
		return unsure
	}
	unsure = append(unsure, plan.Unsure(entries(x.last.Nodes), x.far)...)
	slices.SortFunc(unsure, tree.Compare)
	return slices.Compact(unsure)
}

// pristine tells whether the far side never was given this folder. One that has
// no baseline, although there is one here, has lost it: what it holds may be the
// only copy of something.
func (x *exchange) pristine() bool {
	return x.state.Pristine && (x.last.ID == (baseline.ID{}) || len(x.list.records) == 0 && x.up)
}

// quiet tells whether both sides are as in the base, so that there is nothing
// to merge: the usual case, worth its short cut.
func (x *exchange) quiet() bool {
	if x.base.ID == (baseline.ID{}) || len(x.list.records) > 0 || len(x.nodes) != len(x.base.Nodes) {
		return false
	}
	for i := range x.nodes {
		if !x.nodes[i].Same {
			return false
		}
	}
	return true
}

// giveUp ends the operation for a reason of our own.
func (x *exchange) giveUp(why error) error {
	if err := x.nothing(); err != nil {
		return err
	}
	return why
}

func conflict(all []plan.Conflict) error {
	var b strings.Builder
	for i, c := range all {
		if i == maxWarnings {
			b.WriteString("…\n")
			break
		}
		b.WriteString(c.Path + ": " + c.Why + "\n")
	}
	return fault.New(fault.Conflict, "sync: %d names changed on both sides, among them %q", len(all), all[0].Path).WithDetail(strings.TrimSuffix(b.String(), "\n"))
}

func entries(nodes []tree.Node) []tree.Entry {
	out := make([]tree.Entry, len(nodes))
	for i := range nodes {
		out[i] = nodes[i].Entry
	}
	return out
}

// learn gets the digests, on both sides at once, that the plan depends on.
func (x *exchange) learn(ctx context.Context, paths []string) error {
	var places []uint32
	var asked []string
	for _, path := range paths {
		i := findEntry(x.far, path)
		if place, ok := x.places[path]; ok && !x.far[i].Digest.Known() {
			places, asked = append(places, place), append(asked, path)
		}
	}
	if len(places) > 0 {
		if err := x.ask(false, places); err != nil {
			return err
		}
	}
	sumErr := x.sum(ctx, paths)
	if len(places) > 0 {
		err := x.recvList(ctx, func(r pack.Record) error {
			if len(asked) == 0 || r.Kind != pack.Have || r.Path != asked[0] || r.Entry.Kind != tree.File || !r.Entry.Digest.Known() {
				return fault.New(fault.Protocol, "sync: digest of %q, which was not asked for", r.Path)
			}
			asked = asked[1:]
			i := findEntry(x.far, r.Path)
			x.far[i] = r.Entry
			return nil
		})
		switch {
		case err != nil && isBroken(err):
			return err
		case err != nil: // the far side could not read one of its files
			return x.giveUp(err)
		}
		if len(asked) > 0 {
			return fault.New(fault.Protocol, "sync: %d digests missing", len(asked))
		}
	}
	if sumErr != nil {
		return x.giveUp(sumErr)
	}
	return nil
}

// findEntry returns where path stands in a list that has it.
func findEntry(list []tree.Entry, path string) int {
	i, _ := slices.BinarySearchFunc(list, path, func(e tree.Entry, path string) int { return tree.Compare(e.Path, path) })
	return i
}

// checkNames makes sure that a side can hold the names it will have: have, less
// what the steps delete, plus what they make.
func checkNames(have []tree.Entry, steps []plan.Step, w names.Ways, where string) error {
	if !w.Picky() {
		return nil
	}
	gone := map[string]bool{}
	added := map[string]bool{}
	for _, s := range steps {
		switch s.Op {
		case plan.Delete:
			gone[s.Entry.Path] = true
		case plan.Make, plan.Write:
			added[s.Entry.Path] = true
		}
	}
	var paths []string
	for _, e := range have {
		if !gone[e.Path] && !added[e.Path] {
			paths = append(paths, e.Path)
		}
	}
	for path := range added {
		paths = append(paths, path)
	}
	return badNames(names.Check(paths, w), where)
}

func badNames(problems []names.Problem, where string) error {
	if len(problems) == 0 {
		return nil
	}
	var b strings.Builder
	for i, p := range problems {
		if i == maxWarnings {
			b.WriteString("…\n")
			break
		}
		b.WriteString(p.String() + "\n")
	}
	return fault.New(fault.BadName, "sync: %d names cannot be held %s: %s", len(problems), where, problems[0]).WithDetail(strings.TrimSuffix(b.String(), "\n"))
}
