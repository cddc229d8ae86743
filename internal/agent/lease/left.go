package lease

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"slices"
	"strings"
	"syscall"

	"outrigger.dev/outrigger/internal/agent/disk"
	"outrigger.dev/outrigger/internal/agent/link"
	"outrigger.dev/outrigger/internal/wire"
)

// keeper tells of a folder whether another lease than name has a link in it.
func (s *Store) keeper(name string) func(dir string) bool {
	return func(dir string) bool {
		recs, _, err := s.all()
		if err != nil {
			return true // nothing is removed that may be needed
		}
		return slices.ContainsFunc(recs, func(rec disk.Lease) bool {
			return rec.Name != name && slices.ContainsFunc(rec.Links, func(l disk.Link) bool {
				return l.Place == dir || strings.HasPrefix(l.Place, dir+"/")
			})
		})
	}
}

// noteLeft adds to what is known to be left on the machine.
func (s *Store) noteLeft(ctx context.Context, found []disk.Left) error {
	if len(found) == 0 {
		return nil
	}
	return s.changeLeft(ctx, func(known []disk.Left) []disk.Left { return mergeLeft(known, found) })
}

// leftover answers what is left on the machine: for a machine that is nobody's own all of it, after another
// attempt to remove it; else what this release found.
func (s *Store) leftover(ctx context.Context, clean bool, found []disk.Left) (wire.LeaseReleased, error) {
	var out wire.LeaseReleased
	err := s.changeLeft(ctx, func(known []disk.Left) []disk.Left {
		known = slices.DeleteFunc(known, func(l disk.Left) bool { return s.gone(ctx, l, clean) })
		for _, l := range known {
			if clean || slices.Contains(found, l) {
				out.Left = append(out.Left, l.String())
			}
		}
		return known
	})
	return out, err
}

// gone tells whether a thing that was left is there no more.
func (s *Store) gone(ctx context.Context, l disk.Left, clean bool) bool {
	recs, _, err := s.all()
	if err != nil {
		return false
	}
	linked := func(k disk.Link) bool { return k.Place == l.Path }
	if slices.ContainsFunc(recs, func(rec disk.Lease) bool { return slices.ContainsFunc(rec.Links, linked) }) {
		return true // it was removed, and the path is another lease's now
	}
	if clean {
		if err := link.RemoveTree(ctx, l.Path); err != nil {
			s.log.Warn("what a lease left cannot be removed", "path", l.Path, "error", err)
		}
	}
	_, err = os.Lstat(l.Path)
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR)
}

func (s *Store) changeLeft(ctx context.Context, change func([]disk.Left) []disk.Left) error {
	unlock, err := s.root.Lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	known, err := s.root.ReadLeft()
	if err != nil {
		s.log.Error("what leases left cannot be read; it is forgotten", "error", err)
		if err := s.root.WriteLeft(nil); err != nil {
			return err
		}
	}
	before := slices.Clone(known)
	if known = change(known); slices.Equal(before, known) {
		return nil
	}
	return s.root.WriteLeft(known)
}

// mergeLeft puts what was found over what is known of the same paths.
func mergeLeft(known, found []disk.Left) []disk.Left {
	known = slices.DeleteFunc(known, func(k disk.Left) bool {
		return slices.ContainsFunc(found, func(f disk.Left) bool { return f.Path == k.Path })
	})
	return append(known, found...)
}
