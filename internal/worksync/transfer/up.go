package transfer

import (
	"context"
	"errors"
	"strings"

	"golang.org/x/sync/errgroup"

	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/sanitize"
	"outrigger.dev/outrigger/internal/worksync/baseline"
	"outrigger.dev/outrigger/internal/worksync/pack"
	"outrigger.dev/outrigger/internal/worksync/plan"
	"outrigger.dev/outrigger/internal/worksync/tree"
)

// bringUp is the near side of Up.
func (x *exchange) bringUp(ctx context.Context) error {
	known, err := x.begin()
	if err != nil {
		return err
	}
	// The scan starts before the far side's answer is here, and may go on after
	// it: a first sync sends what has been found so far.
	scanning, stop := context.WithCancel(ctx)
	var group errgroup.Group
	defer group.Wait() //nolint:errcheck // the error went into the feed
	defer stop()
	found := newFeed()
	group.Go(func() error {
		err := tree.Scanner{Ignore: x.matcher}.Scan(scanning, x.root(), found.put)
		found.end(err)
		return err
	})
	if err := x.hear(ctx, known); err != nil {
		return err
	}
	if x.pristine() && len(x.list.records) == 0 && !x.state.Ways.Picky() {
		return x.stream(ctx, found)
	}
	raw, err := found.all(ctx)
	if err != nil {
		return x.giveUp(err)
	}
	p, err := x.plan(ctx, raw)
	if err != nil {
		return err
	}
	return x.push(ctx, p)
}

// stream is a first sync: everything goes to an empty folder, while the scan
// still runs.
func (x *exchange) stream(ctx context.Context, found *feed) error {
	x.nodes = nil
	d := newDelta()
	var nodes []tree.Node
	taken := 0
	next := func(ctx context.Context) (pack.Item, bool, error) {
		for {
			if len(nodes) == 0 {
				var err error
				if nodes, err = found.from(ctx, taken); err != nil || len(nodes) == 0 {
					return pack.Item{}, false, err
				}
				taken += len(nodes)
				x.advance(func(p *Progress) { p.TotalFiles, p.TotalBytes = found.total() })
			}
			n := nodes[0]
			nodes = nodes[1:]
			if n.Closed != "" {
				x.leaveUnread(n.Path, n.Closed)
				continue
			}
			if n.Kind == tree.File {
				return pack.Item{Kind: pack.Write, Settles: true, Node: n}, true, nil
			}
			if x.streamed(&n, d) {
				return pack.Item{Kind: pack.Make, Settles: true, Node: n}, true, nil
			}
		}
	}
	return x.pushItems(ctx, d, nil, next)
}

// streamed notes an entry that is not a file, and tells whether it is sent.
func (x *exchange) streamed(n *tree.Node, d *delta) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	if n.Kind == tree.Special {
		x.report.passedOver(n)
		return false
	}
	d.set[n.Path] = *n
	x.count(plan.Make, n.Kind)
	return true
}

// push carries out the far side's part of a plan.
func (x *exchange) push(ctx context.Context, p plan.Plan) error {
	if x.base.ID != (baseline.ID{}) && len(p.Far)+len(p.Agreed)+len(p.Forget) == 0 {
		if err := x.nothing(); err != nil {
			return err
		}
		return x.refresh()
	}
	d := newDelta()
	var removed []string
	items := make([]pack.Item, 0, len(p.Far)+len(p.Agreed)+len(p.Forget))
	for _, s := range p.Far {
		it := pack.Item{Kind: kinds[s.Op], Settles: s.Settles, Node: tree.Node{Entry: s.Entry}}
		if s.Op == plan.Aside {
			it.Why = strings.TrimPrefix(s.To, s.Entry.Path)
		}
		mine, have := x.node(s.Entry.Path)
		if s.Op == plan.Write && have {
			it.Node.Stamp = mine.Stamp
			x.progress.TotalFiles++
			x.progress.TotalBytes += s.Entry.Size
		}
		switch {
		case s.Op == plan.Delete && s.Settles:
			removed = append(removed, s.Entry.Path)
		case s.Op != plan.Delete && s.Op != plan.Write && s.Settles && have:
			d.set[s.Entry.Path] = tree.Node{Entry: s.Entry, Stamp: mine.Stamp}
		}
		if s.Op != plan.Meta || s.Entry.Kind == tree.File || x.far[findEntry(x.far, s.Entry.Path)].Mode != s.Entry.Mode {
			x.count(s.Op, s.Entry.Kind) // that a folder's time moves goes without saying
		}
		items = append(items, it)
	}
	items = append(items, x.settled(p, d)...)
	return x.pushItems(ctx, d, removed, fromSlice(items))
}

// kinds are the records that carry steps.
var kinds = map[plan.Op]pack.Kind{plan.Delete: pack.Delete, plan.Make: pack.Make, plan.Write: pack.Write, plan.Meta: pack.Meta,
	plan.Aside: pack.Aside}

// settled makes records of what is to change in the far side's baseline only,
// and changes it in ours.
func (x *exchange) settled(p plan.Plan, d *delta) []pack.Item {
	var items []pack.Item
	for _, e := range p.Agreed {
		items = append(items, pack.Item{Kind: pack.Agree, Node: tree.Node{Entry: e}})
		if mine, ok := x.node(e.Path); ok {
			d.set[e.Path] = tree.Node{Entry: e, Stamp: mine.Stamp}
		}
	}
	for _, path := range p.Forget {
		items = append(items, pack.Item{Kind: pack.Forget, Node: tree.Node{Entry: tree.Entry{Path: path}}})
		d.forget[path] = true
	}
	return items
}

func fromSlice(items []pack.Item) func(context.Context) (pack.Item, bool, error) {
	return func(context.Context) (pack.Item, bool, error) {
		if len(items) == 0 {
			return pack.Item{}, false, nil
		}
		it := items[0]
		items = items[1:]
		return it, true, nil
	}
}

// pushItems streams items, and commits on this side what the far side has
// committed.
func (x *exchange) pushItems(ctx context.Context, d *delta, removed []string, next func(context.Context) (pack.Item, bool, error)) error {
	packer := pack.Packer{Root: x.root(), Readers: workers(), Gauge: &pack.Gauge{}, Read: func(it pack.Item) {
		if it.Err != nil {
			x.notRead(it)
			return
		}
		x.advance(func(p *Progress) {
			x.report.Files++
			x.report.Bytes += it.Node.Size
			if it.Settles {
				d.set[it.Node.Path] = it.Node
			}
			p.Files++
		})
	}, Sent: func(content int64) {
		x.advance(func(p *Progress) { p.Bytes += content })
	}}
	id := baseline.NewID()
	answer, err := x.sendStream(ctx, id[:], here.fault, func(ctx context.Context, send func(pack.Block) error) error {
		return packer.Pack(ctx, next, send)
	})
	if err != nil {
		x.inStep = !isBroken(err)
		return err
	}
	x.inStep = true
	x.report.warn(answer.Warnings...)
	kept := map[string]bool{}
	for _, path := range answer.Kept {
		kept[path] = true
	}
	for _, path := range removed {
		if !kept[path] {
			d.forget[path] = true
		}
	}
	for _, path := range answer.Undone {
		delete(d.set, path)
	}
	for _, l := range answer.Left {
		x.notTaken(l.Path, there.where, sanitize.Line(l.Why, maxWhy), l.Changed)
	}
	_, err = x.commit(id, d)
	return err
}

// notRead is for a file that was not sent. One that vanished comes, or goes,
// with the next sync.
func (x *exchange) notRead(it pack.Item) {
	if !tree.Vanished(it.Err) {
		x.leaveUnread(it.Node.Path, tree.Reason(it.Err))
	}
}

// notTaken notes a step that one side could not take.
func (x *exchange) notTaken(path, where, why string, changed bool) {
	if changed {
		x.report.again = true
		x.leave(Left{Path: path, Why: "changed " + where + " during the sync", Kind: fault.Conflict})
		return
	}
	x.leave(Left{Path: path, Why: "cannot be written " + where + ": " + why})
}

// isBroken tells whether a fault left the connection out of step.
func isBroken(err error) bool {
	k := fault.Of(err)
	return k == fault.Unreachable || k == fault.Protocol || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}

// count reports a step that is about to be taken; files count when they are read.
func (x *exchange) count(op plan.Op, kind tree.Kind) {
	switch {
	case op == plan.Delete:
		x.report.Deleted++
	case op == plan.Meta:
		x.report.Touched++
	case op == plan.Aside:
	case kind == tree.Dir:
		x.report.Folders++
	case kind == tree.Link:
		x.report.Links++
	}
}
