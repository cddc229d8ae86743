package relay

import (
	"context"
	"slices"
	"strings"

	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/sanitize"
	"outrigger.dev/outrigger/internal/wire"
)

func (r *relay) linkRequest(l Link) wire.LinkRequest {
	return wire.LinkRequest{Lease: r.job.Lease.Name, Path: l.Path, Target: l.Target, Inside: l.Inside, Make: l.Make}
}

// checkLinks tells of paths at which the command put something else than the link that led into the
// lease: what it wrote there does not come back.
func (r *relay) checkLinks(ctx context.Context) error {
	r.mu.Lock()
	links := slices.Clone(r.linked)
	r.mu.Unlock()
	if len(links) == 0 {
		return nil
	}
	var got wire.LinkChecked
	err := r.persist(ctx, func(ctx context.Context) error {
		return r.host.Call(ctx, wire.MethodLinkCheck, wire.LinkCheck{Links: links}, &got)
	})
	if err != nil || len(got.Replaced) == 0 {
		return err
	}
	var names []string
	for _, path := range got.Replaced[:min(len(got.Replaced), len(links))] {
		names = append(names, sanitize.Line(path, maxPath))
	}
	return fault.New(fault.PathTaken, "the command put something else at %s on the machine, so what it wrote there does not come back",
		strings.Join(names, ", ")).
		WithRemedy("Have the command write into the folder instead of replacing it, as tar without -C / does, or rm -rf DIR/* instead of rm -rf DIR.")
}

// maxPath bounds what is told of a path that a machine names.
const maxPath = 200

// judgeLink judges the answer to a link's request.
func (r *relay) judgeLink(l Link, answer wire.LinkAnswer, err error) error {
	switch {
	case err != nil && l.Failed != nil && !broken(err):
		return l.Failed(err)
	case err != nil:
		return err
	case !answer.Rewrite:
		r.mu.Lock()
		defer r.mu.Unlock()
		if req := r.linkRequest(l); !slices.Contains(r.linked, req) {
			r.linked = append(r.linked, req)
		}
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
		if err := r.judgeLink(l, answer, err); err != nil {
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
