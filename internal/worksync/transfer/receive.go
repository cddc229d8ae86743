package transfer

import (
	"context"
	"errors"
	"fmt"

	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/wire"
	"outrigger.dev/outrigger/internal/worksync/apply"
	"outrigger.dev/outrigger/internal/worksync/baseline"
	"outrigger.dev/outrigger/internal/worksync/pack"
	"outrigger.dev/outrigger/internal/worksync/tree"
)

// take receives a stream, carries it out and commits.
func (o *operation) take(ctx context.Context, first wire.Frame) error {
	a := apply.New(ctx, apply.Config{Root: o.root, Seen: o.nodes, Tag: "far", Ways: *o.ways, Fresh: o.pristine, Workers: workers()})
	r := &receiver{operation: o, applier: a, delta: newDelta(), settles: map[string]bool{}}
	last, failed, err := o.recvStream(ctx, &first, r.record, func(err error) error {
		return o.sendResult(result{Fault: wire.FaultOf(there.fault(err))})
	})
	if failed != nil || err != nil || last.Fault != nil {
		if cerr := a.Close(); cerr != nil {
			o.cfg.Log.Warn("cannot undo a broken sync", "error", cerr)
		}
		if err != nil || failed != nil {
			return err
		}
		return o.sendResult(result{Fault: last.Fault})
	}
	res, err := r.finish(last)
	if cerr := a.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		res = result{Fault: wire.FaultOf(there.fault(err))}
	}
	return o.sendResult(res)
}

// receiver carries out the records of a stream.
type receiver struct {
	*operation
	applier *apply.Applier
	delta   *delta
	settles map[string]bool // the steps after which both sides agree
	removed []string        // to be forgotten, unless they could not go
	count   int
	text    int // bytes of paths
}

func (r *receiver) record(rec pack.Record) error {
	if rec.Kind != pack.Piece {
		r.count++
		r.text += len(rec.Path) + len(rec.Entry.Target)
		if r.count > 3*tree.MaxEntries || r.text > 3*maxListText {
			return fault.New(fault.Protocol, "sync: more than %d steps or %d bytes of names", 3*tree.MaxEntries, 3*maxListText)
		}
	}
	if r.count%256 == 1 {
		if err := r.ticket.check(); err != nil {
			return err
		}
	}
	if rec.Settles && rec.Kind != pack.Delete {
		r.settles[rec.Path] = true
	}
	switch rec.Kind {
	case pack.Delete:
		if rec.Settles {
			r.removed = append(r.removed, rec.Path)
		}
		return r.applier.Delete(rec.Path)
	case pack.Aside:
		return r.applier.Aside(rec.Path, rec.Why)
	case pack.Make:
		return r.applier.Make(rec.Entry)
	case pack.Meta:
		return r.applier.Meta(rec.Entry)
	case pack.Write:
		return r.applier.Write(rec.Entry, rec.Content)
	case pack.Begin:
		return r.applier.Begin(rec.Entry)
	case pack.Piece:
		return r.applier.Piece(rec.Content)
	case pack.Drop:
		return r.applier.Drop()
	case pack.End:
		return r.applier.End(rec.Entry)
	case pack.Agree:
		return r.agree(rec.Entry)
	case pack.Skip:
		return nil // the near side could not read it, and says so itself
	case pack.Forget:
		r.removed = append(r.removed, rec.Path)
		return nil
	}
	return fmt.Errorf("%w: record of kind %d in a stream", tree.ErrCodec, rec.Kind)
}

// leftOf words what the applier could not do, for the near side.
func leftOf(all []apply.Left) []leftThere {
	all = all[:min(len(all), maxLeft)]
	out := make([]leftThere, len(all))
	for i, l := range all {
		why := tree.Reason(l.Err)
		out[i] = leftThere{Path: l.Path, Why: why[:min(len(why), maxWhy)], Changed: errors.Is(l.Err, tree.ErrChanged)}
	}
	return out
}

// agree takes an entry into the baseline that is here already.
func (r *receiver) agree(e tree.Entry) error {
	n, ok := r.node(e.Path)
	if !ok || n.Kind != e.Kind || n.Digest != e.Digest || n.Target != e.Target {
		return fmt.Errorf("%w: said to agree on %q, which is not so", tree.ErrCodec, e.Path)
	}
	r.delta.set[e.Path] = tree.Node{Entry: e, Stamp: n.Stamp}
	return nil
}

func (r *receiver) finish(last end) (result, error) {
	if len(last.Commit) != len(baseline.ID{}) {
		return result{}, fault.New(fault.Protocol, "sync: stream without a baseline")
	}
	done, err := r.applier.Finish()
	if err != nil {
		return result{}, err
	}
	if err := r.ticket.check(); err != nil {
		return result{}, err
	}
	res := result{Warnings: done.Warnings, Left: leftOf(done.Left)}
	for _, n := range done.Done {
		if r.settles[n.Path] {
			r.delta.set[n.Path] = n
			delete(r.settles, n.Path)
		}
	}
	for path := range r.settles {
		res.Undone = append(res.Undone, path)
	}
	for _, path := range r.removed {
		if !done.Kept[path] {
			r.delta.forget[path] = true
		}
	}
	for path := range done.Kept {
		res.Kept = append(res.Kept, path)
	}
	if n := len(res.Warnings); n > maxWarnings {
		res.Warnings = append(res.Warnings[:maxWarnings], fmt.Sprintf("and %d more of these", n-maxWarnings))
	}
	g, err := r.commit(baseline.ID(last.Commit), r.delta)
	if err == nil {
		r.settled(g)
	}
	return res, err
}
