package lease

import (
	"context"
	"runtime"
	"slices"

	"outrigger.dev/outrigger/internal/agent/disk"
	"outrigger.dev/outrigger/internal/agent/link"
	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/wire"
)

// Link makes a folder of a lease appear at an absolute path, or has the path
// rewritten in its runs where that needs root and root cannot be become.
// Faults: PathTaken; Busy, which names the lease that has the path.
func (s *Store) Link(ctx context.Context, req wire.LinkRequest) (wire.LinkAnswer, error) {
	path, err := link.Clean(runtime.GOOS, req.Path)
	if err != nil {
		return wire.LinkAnswer{}, err
	}
	var answer wire.LinkAnswer
	err = s.Update(ctx, req.Lease, func(dir disk.LeaseDir, rec *disk.Lease) error {
		target, err := dir.Work(req.Target)
		if err != nil {
			return err
		}
		answer.Target = target
		if err := s.pathFree(path, rec.Name); err != nil {
			return err
		}
		if err := s.unlinkOther(ctx, dir, rec, path, target); err != nil {
			return err
		}
		answer.Rewrite, err = makeLink(ctx, dir, rec, link.Request{OS: runtime.GOOS, Path: path, Target: target, At: string(s.root.At())})
		if answer.Rewrite {
			answer.Why = "the login may not become root (sudo -n)"
			rec.Rewrites = append(slices.DeleteFunc(rec.Rewrites, func(rw disk.Rewrite) bool { return rw.From == path }),
				disk.Rewrite{From: path, To: target})
		}
		return err
	})
	return answer, err
}

// pathFree is nil unless another lease has the path, or one that it would be inside of.
func (s *Store) pathFree(path, lease string) error {
	recs, err := s.all()
	if err != nil {
		return err
	}
	for _, other := range recs {
		for _, l := range other.Links {
			if other.Name != lease && link.Conflict(l.Path, path) {
				return fault.New(fault.Busy, "path %s: lease %s has %s until %s", path, other.Name, l.Path, other.Expires.Format("15:04:05 MST")).
					WithDetail(other.Note)
			}
		}
	}
	return nil
}

// unlinkOther takes the path from another folder of the same lease, unless
// something runs in the lease that may rely on it.
func (s *Store) unlinkOther(ctx context.Context, dir disk.LeaseDir, rec *disk.Lease, path, target string) error {
	i := slices.IndexFunc(rec.Links, func(l disk.Link) bool { return l.Path == path && l.Target != target })
	if i < 0 {
		return nil
	}
	if n := s.describe(dir, *rec).Runs; n > 0 {
		return fault.New(fault.Busy, "path %s: leads to another folder of lease %s, where %d runs are under way", path, rec.Name, n)
	}
	if err := link.Undo(ctx, rec.Links[i]); err != nil {
		return err
	}
	rec.Links = slices.Delete(rec.Links, i, i+1)
	return dir.Write(*rec)
}

// makeLink writes the link into the record before it makes it.
func makeLink(ctx context.Context, dir disk.LeaseDir, rec *disk.Lease, req link.Request) (rewrite bool, err error) {
	facts, err := link.Look(req)
	if err != nil {
		return false, err
	}
	steps, rewrite, err := link.Plan(req, facts)
	if rewrite && link.MaySudo(ctx) {
		facts.Power = link.AsSudo
		steps, rewrite, err = link.Plan(req, facts)
	}
	if err != nil || rewrite || len(steps) == 0 {
		return rewrite, err
	}
	l := link.Record(req, steps)
	before := slices.Clone(rec.Links)
	rec.Links = append(rec.Links, l)
	if err := dir.Write(*rec); err != nil {
		return false, err
	}
	if err := link.Do(ctx, steps, facts.Power); err != nil {
		if uerr := link.Undo(ctx, l); uerr != nil {
			return false, fault.New(fault.Of(err), "%w; and undo it: %v", err, uerr) // the record stays, for the release
		}
		rec.Links = before
		if werr := dir.Write(*rec); werr != nil {
			return false, fault.New(fault.Of(err), "%w; and record that: %v", err, werr)
		}
		return false, err
	}
	return false, nil
}
