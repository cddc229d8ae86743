package transfer

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/sanitize"
	"outrigger.dev/outrigger/internal/wire"
	"outrigger.dev/outrigger/internal/worksync/apply"
	"outrigger.dev/outrigger/internal/worksync/baseline"
	"outrigger.dev/outrigger/internal/worksync/names"
	"outrigger.dev/outrigger/internal/worksync/pack"
	"outrigger.dev/outrigger/internal/worksync/plan"
	"outrigger.dev/outrigger/internal/worksync/tree"
)

// bringBack is the near side of Back.
func (x *exchange) bringBack(ctx context.Context) error {
	known, err := x.begin()
	if err != nil {
		return err
	}
	scanned := make(chan error, 1)
	var raw []tree.Node
	go func() {
		var err error
		raw, err = scan(ctx, x.root(), x.matcher, nil)
		scanned <- err
	}()
	heard := x.hear(ctx, known)
	serr := <-scanned
	if heard != nil {
		return heard
	}
	if serr != nil {
		return x.giveUp(serr)
	}
	p, err := x.plan(ctx, raw)
	if err != nil {
		return err
	}
	p.Near = only(p.Near, x.cfg.Only)
	ways, err := x.probed(p.Near)
	if err != nil {
		return x.giveUp(err)
	}
	return x.pull(ctx, p, ways)
}

// probed tries out the user's folder, once, if anything new is to come into it.
func (x *exchange) probed(steps []plan.Step) (names.Ways, error) {
	if x.ways != nil {
		return *x.ways, nil
	}
	if !slices.ContainsFunc(steps, func(s plan.Step) bool { return s.Op != plan.Delete }) {
		return names.Ways{}, nil
	}
	cursor := tree.NewCursor(x.root())
	defer cursor.Close()
	at, err := cursor.Folder(x.cfg.ProbeIn)
	if err != nil {
		return names.Ways{}, err
	}
	w, err := names.Probe(at, tree.TempPrefix+x.cfg.TempTag+"-")
	x.ways = &w
	return w, err
}

// pull carries out the near side's part of a plan, then tells the far side
// what both agree on.
func (x *exchange) pull(ctx context.Context, p plan.Plan, ways names.Ways) error {
	still := len(p.Near)+len(p.Agreed)+len(p.Forget) == 0
	if x.pristine() || still && (x.state.Pristine || x.base.ID != (baseline.ID{})) {
		if err := x.nothing(); err != nil {
			return err
		}
		return x.refresh()
	}
	fixed := make(map[string]bool, len(x.cfg.Fixed))
	for _, path := range x.cfg.Fixed {
		fixed[path] = true
	}
	a := apply.New(ctx, apply.Config{Root: x.root(), Seen: x.nodes, Tag: x.cfg.TempTag, Ways: ways, Fixed: fixed, Workers: workers(), Ordered: true})
	t := &taker{exchange: x, applier: a, steps: x.inOrder(p.Near)}
	res, err := t.run(ctx)
	if cerr := a.Close(); err == nil && cerr != nil {
		err = x.giveUp(cerr)
	}
	done := a.Counts()
	x.report.Files, x.report.Folders, x.report.Links = done.Files, done.Dirs, done.Links
	x.report.Deleted, x.report.Touched, x.report.Bytes = done.Deleted, done.Metas, done.Bytes
	x.report.warn(res.Warnings...)
	if err != nil {
		return err
	}
	for _, l := range res.Left {
		x.notTaken(l.Path, here.where, tree.Reason(l.Err), errors.Is(l.Err, tree.ErrChanged))
	}
	if x.cfg.Apart {
		return x.nothing()
	}
	d := newDelta()
	items := append(t.agreed(d, res), x.settled(p, d)...)
	return x.pushItems(ctx, d, nil, fromSlice(append(items, x.broughtBeside(p, d, res)...)))
}

// broughtBeside makes the far side's versions that are here under another name
// the baseline: what is here under theirs is newer, and goes there with the next
// Up. A version that did not come whole stays in conflict.
func (x *exchange) broughtBeside(p plan.Plan, d *delta, res apply.Result) []pack.Item {
	done := make(map[string]tree.Entry, len(res.Done))
	for _, n := range res.Done {
		done[n.Path] = n.Entry
	}
	var items []pack.Item
	for _, b := range p.Beside {
		var came []tree.Entry
		whole := true
		for _, s := range p.Near {
			if s.From != b.Path && !strings.HasPrefix(s.From, b.Path+"/") {
				continue
			}
			e, ok := done[s.Entry.Path]
			whole = whole && ok
			e.Path = s.From
			came = append(came, e)
		}
		if !whole {
			continue
		}
		for _, e := range came {
			d.set[e.Path] = tree.Node{Entry: e, Stamp: tree.Stamp{Racy: true}}
			items = append(items, pack.Item{Kind: pack.Agree, Node: tree.Node{Entry: e}})
		}
		for _, path := range b.Gone {
			d.forget[path] = true
			items = append(items, pack.Item{Kind: pack.Forget, Node: tree.Node{Entry: tree.Entry{Path: path}}})
		}
	}
	return items
}

// taker carries out steps on the near side, with contents from the far side.
type taker struct {
	*exchange
	applier *apply.Applier
	steps   []timed     // those to come
	taken   []plan.Step // those that were taken and settle something
	open    *tree.Entry // the file of which pieces come in
	passing bool        // pieces come in of a file that is not taken
	toPass  int64       // bytes that may still come of it
}

// run fetches and applies. An error leaves the operation over and in step,
// unless the connection is at fault.
func (t *taker) run(ctx context.Context) (apply.Result, error) {
	var places []uint32
	var unlisted []string // a folder that comes back as a whole may hold files that nobody has changed
	for _, s := range t.steps {
		if s.Op == plan.Write {
			place, is := t.placeOf(s.Source())
			if is {
				unlisted = append(unlisted, s.Source())
			}
			places = append(places, place)
			t.progress.TotalFiles++
			t.progress.TotalBytes += s.Entry.Size
		}
	}
	if len(places) > 0 {
		if err := t.nameFiles(unlisted); err != nil {
			return apply.Result{}, err
		}
		if err := t.ask(true, places); err != nil {
			return apply.Result{}, err
		}
		if err := t.fetch(ctx); err != nil {
			return apply.Result{}, err
		}
	}
	err := t.until(ctx, "")
	var res apply.Result
	if err == nil {
		res, err = t.applier.Finish()
	}
	t.moved()
	if len(places) > 0 {
		// The far side waits to hear how its stream was received.
		if serr := t.sendResult(result{Fault: wire.FaultOf(here.fault(err))}); serr != nil {
			return res, serr
		}
	}
	if err != nil {
		return res, t.giveUp(err)
	}
	return res, nil
}

// fetch takes in the stream of contents.
func (t *taker) fetch(ctx context.Context) error {
	last, failed, err := t.recvStream(ctx, nil, func(r pack.Record) error { return t.record(ctx, r) }, func(err error) error {
		return t.sendResult(result{Fault: wire.FaultOf(here.fault(err))})
	})
	switch {
	case err != nil:
		return err
	case failed != nil:
		return t.giveUp(failed)
	case last.Fault != nil:
		if err := t.sendResult(result{}); err != nil {
			return err
		}
		return t.giveUp(last.Fault.Err())
	}
	return nil
}

// record takes one record of the stream. Only what was asked for may come, in
// the order in which it was asked for.
func (t *taker) record(ctx context.Context, r pack.Record) error {
	switch r.Kind {
	case pack.Skip:
		return t.skip(ctx, r)
	case pack.Write, pack.Begin, pack.End:
		e, err := t.wanted(ctx, r)
		if err != nil {
			return err
		}
		r.Entry = e
	}
	switch r.Kind {
	case pack.Write:
		t.open = nil
		return t.took(t.applier.Write(r.Entry, r.Content))
	case pack.Begin:
		if listed := t.steps[0].Entry.Size; r.Entry.Size-listed > max(listed, maxGrowth) {
			t.passing, t.toPass = true, r.Entry.Size
			return nil
		}
		return t.applier.Begin(r.Entry)
	}
	if t.passing {
		return t.pass(r)
	}
	switch r.Kind {
	case pack.Piece:
		t.moved()
		return t.applier.Piece(r.Content)
	case pack.Drop:
		return t.applier.Drop()
	case pack.End:
		return t.took(t.applier.End(r.Entry))
	}
	return fault.New(fault.Protocol, "sync: record of kind %d among contents", r.Kind)
}

// pass lets the content of a file go by that grew beyond measure.
func (t *taker) pass(r pack.Record) error {
	switch r.Kind {
	case pack.Piece:
		if t.toPass -= int64(len(r.Content)); t.toPass < 0 {
			return fault.New(fault.Protocol, "sync: %q: more than was announced", t.steps[0].Entry.Path)
		}
		return nil
	case pack.End:
		t.leave(Left{Path: r.Path, Why: fmt.Sprintf("was listed with %d bytes on the machine, and had %d when it was read",
			t.steps[0].Entry.Size, r.Entry.Size)})
		t.steps = t.steps[1:]
	}
	t.passing = false // it begins again, or is over
	return nil
}

// skip passes a file over that the far side could not read. One that vanished
// there was not there.
func (t *taker) skip(ctx context.Context, r pack.Record) error {
	if err := t.until(ctx, r.Path); err != nil {
		return err
	}
	t.steps = t.steps[1:]
	if r.Why != "" {
		t.leave(Left{Path: r.Path, Why: "cannot be read on the machine: " + sanitize.Line(r.Why, maxWhy), Unread: true})
	}
	return nil
}

// wanted takes all steps before the one for this file, and returns the entry
// to be written: the content and time that come in, the mode of the plan.
func (t *taker) wanted(ctx context.Context, r pack.Record) (tree.Entry, error) {
	e := r.Entry
	if err := t.until(ctx, e.Path); err != nil {
		return e, err
	}
	if r.Kind != pack.Begin { // a file that comes in pieces is due when it is whole
		if err := t.turn(ctx); err != nil {
			return e, err
		}
	}
	e.Path, e.Mode = t.steps[0].Entry.Path, t.steps[0].Entry.Mode
	return e, nil
}

// maxGrowth is how much larger a file of any size may be when it is sent than it
// was when it was listed, because somebody writes to it; one that is larger than
// this may be twice as large.
const maxGrowth = 64 << 20

// took moves on behind a file that was written.
func (t *taker) took(err error) error {
	if err != nil {
		return err
	}
	t.moved()
	t.next()
	return nil
}

func (t *taker) next() {
	if t.steps[0].Settles {
		t.taken = append(t.taken, t.steps[0].Step)
	}
	t.steps = t.steps[1:]
}

// until takes the steps before the file at path; "" means all.
func (t *taker) until(ctx context.Context, path string) error {
	for len(t.steps) > 0 {
		s := t.steps[0]
		if s.Op == plan.Write {
			if s.Source() == path {
				return nil
			}
			return fault.New(fault.Protocol, "sync: got content of %q, want that of %q", path, s.Source())
		}
		err := t.turn(ctx)
		if err != nil {
			return err
		}
		switch s.Op {
		case plan.Delete:
			err = t.applier.Delete(s.Entry.Path)
		case plan.Make:
			err = t.applier.Make(s.Entry)
		case plan.Meta:
			err = t.applier.Meta(s.Entry)
		}
		if err != nil {
			return err
		}
		t.next()
	}
	if path != "" {
		return fault.New(fault.Protocol, "sync: got content of %q, which was not asked for", path)
	}
	return nil
}

func (t *taker) moved() {
	c := t.applier.Counts()
	t.advance(func(p *Progress) { p.Files, p.Bytes = c.Files, c.Bytes })
}

// agreed makes records of what has come in, for the far side's baseline, and
// puts it into ours.
func (t *taker) agreed(d *delta, res apply.Result) []pack.Item {
	settles := map[string]bool{}
	var items []pack.Item
	for _, s := range t.taken {
		switch {
		case s.Op != plan.Delete:
			settles[s.Entry.Path] = true
		case !res.Kept[s.Entry.Path]:
			d.forget[s.Entry.Path] = true
			items = append(items, pack.Item{Kind: pack.Forget, Node: tree.Node{Entry: tree.Entry{Path: s.Entry.Path}}})
		}
	}
	for _, n := range res.Done {
		if settles[n.Path] {
			d.set[n.Path] = n
			items = append(items, pack.Item{Kind: pack.Agree, Node: tree.Node{Entry: n.Entry}})
		}
	}
	return items
}
