package transfer

import (
	"context"
	"fmt"
	"runtime"
	"slices"

	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/sanitize"
	"outrigger.dev/outrigger/internal/worksync/baseline"
	"outrigger.dev/outrigger/internal/worksync/names"
	"outrigger.dev/outrigger/internal/worksync/pack"
	"outrigger.dev/outrigger/internal/worksync/plan"
	"outrigger.dev/outrigger/internal/worksync/tree"
)

// plan merges what both sides have, and notes what has to stay as it is.
func (x *exchange) plan(ctx context.Context, raw []tree.Node) (plan.Plan, error) {
	if err := x.relate(ctx, raw); err != nil {
		return plan.Plan{}, x.giveUp(err)
	}
	for i := range x.nodes {
		if x.nodes[i].Kind == tree.Special && x.nodes[i].Closed == "" {
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
	near := x.nearSide(l.Near)
	opt := plan.Options{
		Pristine: x.pristine(),
		Ours:     ours,
		NoModes:  x.state.Ways.NoModes || runtime.GOOS == "windows",
		Prefer:   x.cfg.Prefer,
		Up:       x.up,
	}
	far := plan.Side{Entries: x.far, Unknown: x.list.closed, Holds: x.list.holds}
	p := plan.Merge(l.Base, near, far, opt)
	unfit, err := x.unfit(p)
	if err != nil {
		return p, x.giveUp(err)
	}
	if len(unfit) > 0 {
		from := near.Unknown
		if !x.up {
			from = far.Unknown
		}
		for path, why := range unfit {
			from[path] = why
		}
		p = plan.Merge(l.Base, near, far, opt)
	}
	x.name(p, unfit)
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

// nearSide is what this side has, in the words of package plan.
func (x *exchange) nearSide(near []tree.Entry) plan.Side {
	s := plan.Side{Entries: near, Unknown: map[string]string{}, Holds: map[string]bool{}, Fixed: map[string]bool{}}
	for i := range x.nodes {
		n := &x.nodes[i]
		if n.Closed != "" {
			s.Unknown[n.Path] = n.Closed
		}
		if n.Holds {
			s.Holds[n.Path] = true
		}
	}
	for _, path := range x.cfg.Fixed {
		s.Fixed[path] = true
	}
	return s
}

// name tells what stays as it is, as far as it concerns this direction: what the
// one side has and the other should get.
func (x *exchange) name(p plan.Plan, unfit map[string]string) {
	for _, c := range p.Conflicts {
		x.leave(Left{Path: c.Path, Why: c.Why, Kind: fault.Conflict})
	}
	for _, c := range p.Decided {
		x.report.warn(sanitize.Line(c.Path, maxWhy) + ": " + c.Why + "; " + whose[x.cfg.Prefer])
	}
	for _, b := range p.Beside {
		x.report.warn(sanitize.Line(b.Path, maxWhy) + ": " + b.Why + "; the machine's version is kept as " +
			sanitize.Line(tree.Name(b.To), maxWhy))
	}
	for _, u := range p.Unknown {
		if why, is := unfit[u.Path]; is {
			x.leave(Left{Path: u.Path, Why: why, Kind: fault.BadName})
			continue
		}
		switch own := x.up == u.Here; {
		case own && u.Here:
			x.leaveUnread(u.Path, u.Why)
		case own || u.News && !u.Here:
			x.leave(Left{Path: u.Path, Why: "cannot be read on the machine: " + u.Why, Unread: true})
		case u.News:
			x.leave(Left{Path: u.Path, Why: "has news on the machine, and cannot be read here: " + u.Why})
		}
	}
	held := p.HeldNear
	if x.up {
		held = p.HeldFar
	}
	for _, path := range held {
		x.report.warn(fmt.Sprintf("%q: kept, because it holds files that are not synced", path))
	}
}

// whose words a preference.
var whose = map[plan.Prefer]string{
	plan.Near: "the version here counts",
	plan.Far:  "the machine's version counts",
	plan.Both: "what is left of it is kept",
}

// leaveUnread is for what cannot be read here, and so is not there either. Nobody
// misses it if the command could not have read it here itself.
func (x *exchange) leaveUnread(path, why string) {
	if x.cfg.AsHere {
		x.cfg.Log.Info("cannot be read here, so it is not on the machine", "path", path, "cause", why)
		return
	}
	x.leave(Left{Path: path, Why: "cannot be read here: " + why})
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
			if len(asked) > 0 && r.Kind == pack.Skip && r.Path == asked[0] {
				asked = asked[1:]
				x.unread(r)
				return nil
			}
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
	x.far = slices.DeleteFunc(x.far, func(e tree.Entry) bool { return x.vanished[e.Path] })
	if sumErr != nil {
		return x.giveUp(sumErr)
	}
	x.dropGone()
	return nil
}

// unread takes note of a file that the far side could not read, or that is gone.
func (x *exchange) unread(r pack.Record) {
	if r.Why != "" {
		x.list.closed[r.Path] = sanitize.Line(r.Why, maxWhy)
		return
	}
	if x.vanished == nil {
		x.vanished = map[string]bool{}
	}
	x.vanished[r.Path] = true
}

// findEntry returns where path stands in a list that has it.
func findEntry(list []tree.Entry, path string) int {
	i, _ := slices.BinarySearchFunc(list, path, func(e tree.Entry, path string) int { return tree.Compare(e.Path, path) })
	return i
}

// unfit returns the paths that the side to which p brings something cannot hold
// there, and why. Of names that would be one it is all that are not there yet.
func (x *exchange) unfit(p plan.Plan) (map[string]string, error) {
	have, steps, w := x.far, p.Far, x.state.Ways
	if !x.up {
		var err error
		if w, err = x.probed(p.Near); err != nil {
			return nil, err
		}
		have, steps = entries(x.nodes), p.Near
	}
	if !w.Picky() {
		return nil, nil
	}
	gone, added := map[string]bool{}, map[string]bool{}
	for _, s := range steps {
		switch s.Op {
		case plan.Delete:
			gone[s.Entry.Path] = true
		case plan.Make, plan.Write:
			added[s.Entry.Path] = true
		}
	}
	there := map[string]bool{}
	var paths []string
	for _, e := range have {
		there[e.Path] = true
		if !gone[e.Path] && !added[e.Path] {
			paths = append(paths, e.Path)
		}
	}
	for path := range added {
		paths = append(paths, path)
	}
	unfit := map[string]string{}
	for _, problem := range names.Check(paths, w) {
		for _, path := range problem.Paths {
			if !there[path] && added[path] {
				unfit[path] = problem.String()
			}
		}
	}
	return unfit, nil
}
