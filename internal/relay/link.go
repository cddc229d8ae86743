package relay

import (
	"context"
	"slices"

	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/wire"
)

func (r *relay) linkRequest(l Link) wire.LinkRequest {
	return wire.LinkRequest{Lease: r.job.Lease.Name, Path: l.Path, Target: l.Target, Inside: l.Inside, Make: l.Make}
}

// linked judges the answer to a link's request.
func (r *relay) linked(l Link, answer wire.LinkAnswer, err error) error {
	switch {
	case err != nil && l.Failed != nil && !broken(err):
		return l.Failed(err)
	case err != nil:
		return err
	case answer.Rewrite && l.Rewritten != nil:
		l.Rewritten(answer)
	case answer.Rewrite:
		r.watcher.Warn("the folder cannot be made to appear at " + l.Path + " on the machine (" + answer.Why + "); " +
			"the path is replaced by " + answer.Target + " in the command, its environment and its script")
	}
	return nil
}

// linkLate makes the links that are inside of what is synced.
func (r *relay) linkLate(ctx context.Context) error {
	for _, l := range r.job.Links {
		if !l.Late {
			continue
		}
		var answer wire.LinkAnswer
		err := r.persist(ctx, func(ctx context.Context) error {
			return r.host.Call(ctx, wire.MethodLink, r.linkRequest(l), &answer)
		})
		if err := r.linked(l, answer, err); err != nil {
			return err
		}
	}
	return nil
}

// early are the links that need not wait for files.
func (r *relay) earlyLinks() []Link {
	return slices.DeleteFunc(slices.Clone(r.job.Links), func(l Link) bool { return l.Late })
}

// PathTaken tells whether a link failed because of what is at its path.
func PathTaken(err error) bool { return fault.Is(err, fault.PathTaken) || fault.Is(err, fault.Busy) }
