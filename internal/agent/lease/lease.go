// Package lease lends out a machine: each use of it gets a folder with an owner
// and an expiry, and giving it back leaves nothing.
//
// All there is to know is on disk, under one lock, so any number of agents may
// do this at once, and each may be killed at any moment. A release first
// writes down that it began: from then on no run starts in the lease, and a
// later sweep completes what an earlier release did not.
package lease

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"sort"
	"strings"
	"time"

	"outrigger.dev/outrigger/internal/agent/disk"
	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/wire"
)

// maxLife bounds how far ahead an expiry may be, so that a client with a wrong
// clock cannot keep a machine for ever.
const maxLife = 30 * 24 * time.Hour

// A Store is the leases of one machine and user.
type Store struct {
	root disk.Root
	log  *slog.Logger
}

// Open returns the store below root.
func Open(root disk.Root, log *slog.Logger) *Store { return &Store{root, log} }

// Acquire makes a lease, or renews one of the same name and owner. Leases that
// expired are released first. Faults: NoCapacity, which names the holders;
// NameTaken; Busy while the lease is being released.
func (s *Store) Acquire(ctx context.Context, req wire.LeaseAcquire) (wire.Lease, error) {
	dir, err := s.root.Lease(req.Name)
	if err != nil {
		return wire.Lease{}, err
	}
	if err := s.releaseExpired(ctx); err != nil {
		s.log.Warn("release expired leases", "error", err)
	}
	unlock, err := s.root.Lock(ctx)
	if err != nil {
		return wire.Lease{}, err
	}
	defer unlock()
	now := time.Now()
	rec, err := dir.Read()
	switch {
	case err == nil && rec.Owner != req.Owner:
		return wire.Lease{}, fault.New(fault.NameTaken, "lease %s: belongs to another owner", req.Name)
	case err == nil && rec.Releasing:
		return wire.Lease{}, fault.New(fault.Busy, "lease %s: is being released", req.Name)
	case err == nil:
		rec.Expires = clamp(req.Expires, now)
		return s.describe(dir, rec), dir.Write(rec)
	case !errors.Is(err, fs.ErrNotExist):
		return wire.Lease{}, err
	}
	if err := s.room(req.Slots); err != nil {
		return wire.Lease{}, err
	}
	rec = disk.Lease{Name: req.Name, Owner: req.Owner, Note: req.Note, Created: now.UTC(), Expires: clamp(req.Expires, now)}
	return s.describe(dir, rec), s.create(ctx, dir, rec)
}

// room is nil when another lease fits.
func (s *Store) room(slots int) error {
	if slots <= 0 {
		return nil
	}
	held, err := s.all()
	if err != nil || len(held) < slots {
		return err
	}
	var names, lines []string
	for _, l := range held {
		names = append(names, l.Name)
		lines = append(lines, fmt.Sprintf("%s  %s  until %s", l.Name, l.Note, l.Expires.Format(time.RFC3339)))
	}
	return fault.New(fault.NoCapacity, "machine is full: %d of %d slots are held by %s", len(held), slots, strings.Join(names, ", ")).
		WithDetail(strings.Join(lines, "\n"))
}

// create makes the folder aside and renames it, so that one without a record
// is never seen.
func (s *Store) create(ctx context.Context, dir disk.LeaseDir, rec disk.Lease) error {
	aside, err := os.MkdirTemp(s.root.Leases(), ".new-")
	if err != nil {
		return disk.Fault("lease", err)
	}
	err = disk.LeaseDir(aside).Write(rec)
	for _, sub := range []string{"work", "sync", "runs", "tmp"} {
		if err == nil {
			err = os.Mkdir(filepath.Join(aside, sub), 0o700)
		}
	}
	if err == nil {
		err = os.Rename(aside, string(dir))
	}
	if err != nil {
		return disk.Fault("lease", errors.Join(err, disk.RemoveAll(ctx, aside)))
	}
	return nil
}

// Renew moves a lease's expiry. A lease that is gone is a fault of kind RunLost.
func (s *Store) Renew(ctx context.Context, req wire.LeaseRenew) (wire.Lease, error) {
	var out wire.Lease
	err := s.Update(ctx, req.Name, func(dir disk.LeaseDir, rec *disk.Lease) error {
		rec.Expires = clamp(req.Expires, time.Now())
		out = s.describe(dir, *rec)
		return nil
	})
	return out, err
}

// Update changes the record of a living lease while no other process can.
func (s *Store) Update(ctx context.Context, name string, change func(disk.LeaseDir, *disk.Lease) error) error {
	unlock, err := s.root.Lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	dir, rec, err := s.living(name)
	if err != nil {
		return err
	}
	before := rec
	before.Links, before.Rewrites = slices.Clone(rec.Links), slices.Clone(rec.Rewrites)
	if err := change(dir, &rec); err != nil {
		return err
	}
	if reflect.DeepEqual(before, rec) {
		return nil // forcing a record to the disk costs more than all else here
	}
	return dir.Write(rec)
}

// With calls use with a living lease, which nobody can begin to release meanwhile.
func (s *Store) With(ctx context.Context, name string, use func(disk.LeaseDir, disk.Lease) error) error {
	unlock, err := s.root.Lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	dir, rec, err := s.living(name)
	if err != nil {
		return err
	}
	return use(dir, rec)
}

// Living returns a lease that is not being released.
func (s *Store) Living(name string) (disk.LeaseDir, error) {
	dir, _, err := s.living(name)
	return dir, err
}

func (s *Store) living(name string) (disk.LeaseDir, disk.Lease, error) {
	dir, err := s.root.Lease(name)
	if err != nil {
		return "", disk.Lease{}, err
	}
	rec, err := dir.Read()
	if errors.Is(err, fs.ErrNotExist) || err == nil && rec.Releasing {
		return "", disk.Lease{}, fault.New(fault.RunLost, "lease %s: not on this machine any more: it was released or expired", name)
	}
	return dir, rec, err
}

// List returns all leases by name.
func (s *Store) List() ([]wire.Lease, error) {
	recs, err := s.all()
	if err != nil {
		return nil, err
	}
	var out []wire.Lease
	for _, rec := range recs {
		dir, err := s.root.Lease(rec.Name)
		if err != nil {
			return nil, err
		}
		out = append(out, s.describe(dir, rec))
	}
	return out, nil
}

func (s *Store) all() ([]disk.Lease, error) {
	entries, err := os.ReadDir(s.root.Leases())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, disk.Fault("leases", err)
	}
	var recs []disk.Lease
	for _, e := range entries {
		dir, err := s.root.Lease(e.Name())
		if err != nil {
			continue // the lock, or what is being made or removed
		}
		rec, err := dir.Read()
		if errors.Is(err, fs.ErrNotExist) {
			continue // removed since the listing
		}
		if err != nil {
			return nil, err
		}
		recs = append(recs, rec)
	}
	sort.Slice(recs, func(i, j int) bool { return recs[i].Name < recs[j].Name })
	return recs, nil
}

func (s *Store) describe(dir disk.LeaseDir, rec disk.Lease) wire.Lease {
	work, err := dir.Work("")
	if err != nil {
		work = "" // cannot be: "" leads nowhere else
	}
	out := wire.Lease{Name: rec.Name, Owner: rec.Owner, Created: rec.Created, Expires: rec.Expires,
		Dir: string(dir), Work: work, Note: rec.Note, Releasing: rec.Releasing}
	runs, err := dir.List()
	if err != nil {
		s.log.Warn("list runs", "lease", rec.Name, "error", err)
	}
	for _, r := range runs {
		if r.Live() {
			out.Runs++
		}
	}
	return out
}

func clamp(t, now time.Time) time.Time {
	if latest := now.Add(maxLife); t.After(latest) {
		return latest.UTC()
	}
	return t.UTC()
}
