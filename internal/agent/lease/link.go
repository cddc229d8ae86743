package lease

import (
	"context"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"outrigger.dev/outrigger/internal/agent/disk"
	"outrigger.dev/outrigger/internal/agent/link"
	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/wire"
)

// Link makes a folder of a lease appear at an absolute path, or has the path
// rewritten in its runs where that needs root and root cannot be become.
// Faults: PathTaken; Busy, which names the lease that has the path.
func (s *Store) Link(ctx context.Context, req wire.LinkRequest) (wire.LinkAnswer, error) {
	if req.Inside {
		return s.linkInside(ctx, req)
	}
	path, err := linkPath(req.Path)
	if err != nil {
		return wire.LinkAnswer{}, err
	}
	var answer wire.LinkAnswer
	err = s.Update(ctx, req.Lease, func(dir disk.LeaseDir, rec *disk.Lease) error {
		target, err := linkTarget(dir, req)
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

// Check tells which links something else was put in the place of since they were made.
func (s *Store) Check(req wire.LinkCheck) (wire.LinkChecked, error) {
	var answer wire.LinkChecked
	for _, l := range req.Links {
		dir, err := s.Living(l.Lease)
		if err != nil {
			return answer, err
		}
		target, err := dir.Work(l.Target)
		if err != nil {
			return answer, err
		}
		replaced, err := replaced(dir, l, target)
		if err != nil {
			return answer, err
		}
		if replaced {
			answer.Replaced = append(answer.Replaced, l.Path)
		}
	}
	return answer, nil
}

func replaced(dir disk.LeaseDir, l wire.LinkRequest, target string) (bool, error) {
	if l.Inside {
		path, err := dir.Work(l.Path)
		return err == nil && link.ReplacedInside(path, target), err
	}
	path, err := linkPath(l.Path)
	if err != nil || !link.Replaced(path, target) {
		return false, err
	}
	// Containers of a Pod share the lease, and each may have had a path lead to a file of its own.
	return !link.LeadsInto(path, filepath.Join(string(dir), "work")), nil
}

// linkPath returns the absolute path of a link in the form that is recorded.
func linkPath(path string) (string, error) {
	path, err := inHome(path)
	if err != nil {
		return "", err
	}
	return link.Clean(runtime.GOOS, path)
}

// inHome resolves a path that begins with "~/".
func inHome(path string) (string, error) {
	rest, ok := strings.CutPrefix(path, "~/")
	if !ok {
		return path, nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", fault.New(fault.RemoteFile, "path %s: %w", path, err)
	}
	return filepath.Join(home, rest), nil
}

// linkInside makes a link in the lease's own folder. It needs no record: it
// goes with the folder.
func (s *Store) linkInside(ctx context.Context, req wire.LinkRequest) (wire.LinkAnswer, error) {
	var answer wire.LinkAnswer
	err := s.With(ctx, req.Lease, func(dir disk.LeaseDir, _ disk.Lease) error {
		path, err := dir.Work(req.Path)
		if err != nil {
			return err
		}
		if answer.Target, err = linkTarget(dir, req); err != nil {
			return err
		}
		return link.Inside(ctx, path, answer.Target)
	})
	return answer, err
}

// linkTarget returns the target's place, and makes it if that is asked for.
func linkTarget(dir disk.LeaseDir, req wire.LinkRequest) (string, error) {
	target, err := dir.Work(req.Target)
	if err != nil || !req.Make {
		return target, err
	}
	if _, err := os.Lstat(target); err == nil {
		return target, nil
	}
	return target, disk.Fault("folder "+target, os.MkdirAll(target, 0o755))
}

// pathFree is nil unless another lease has the path, or one that it would be inside of.
func (s *Store) pathFree(path, lease string) error {
	recs, _, err := s.all()
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
	left, err := link.Undo(ctx, rec.Links[i], false, s.keeper(rec.Name))
	if err != nil {
		return err
	}
	if len(left) > 0 {
		return fault.New(fault.PathTaken, "path %s: %s", path, left[0].Why)
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
		if _, uerr := link.Undo(ctx, l, false, func(string) bool { return true }); uerr != nil {
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
