package lease

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"outrigger.dev/outrigger/internal/agent/disk"
	"outrigger.dev/outrigger/internal/agent/link"
	"outrigger.dev/outrigger/internal/agent/proc"
	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/wire"
)

// settleLimit is how long a release waits for a living daemon to see that its
// killed run has ended, so that it does not write into what is being removed.
const settleLimit = 2 * time.Second

// Release ends a lease: its processes, its links, its folder. A lease that is
// not there is released already. It may be repeated after any crash, and be
// done twice at once.
func (s *Store) Release(ctx context.Context, req wire.LeaseRelease) (wire.LeaseReleased, error) {
	found, err := s.release(ctx, req)
	if err != nil {
		return wire.LeaseReleased{}, err
	}
	return s.leftover(ctx, req.Clean, found)
}

// release ends the lease, and returns what its links left at their paths.
func (s *Store) release(ctx context.Context, req wire.LeaseRelease) ([]disk.Left, error) {
	dir, err := s.root.Lease(req.Name)
	if err != nil {
		return nil, err
	}
	rec, err := s.begin(ctx, dir)
	if err != nil || rec.Name == "" {
		return nil, err
	}
	if err := s.killRuns(ctx, dir); err != nil {
		return nil, err
	}
	if err := proc.KillGroup(ctx, rec.Group); err != nil {
		return nil, err
	}
	var found []disk.Left
	for _, l := range slices.Backward(rec.Links) { // a later one may be in a folder made for an earlier one
		left, err := link.Undo(ctx, l, req.Clean, s.keeper(rec.Name))
		if err != nil {
			return nil, err
		}
		found = append(found, left...)
	}
	if s.root.IsTmp(rec.Tmp) {
		if err := disk.RemoveAll(ctx, rec.Tmp); err != nil {
			return nil, err
		}
	}
	// Written down before the lease is gone: a release that is asked for again still tells of it.
	if err := s.noteLeft(ctx, found); err != nil {
		return nil, err
	}
	// Renamed, it is gone at once; what the removal leaves is for a sweep.
	gone := filepath.Join(s.root.Leases(), goneName(req.Name))
	err = os.Rename(string(dir), gone)
	if errors.Is(err, fs.ErrNotExist) {
		return found, nil // somebody else was as far at the same time
	}
	if err != nil {
		gone = string(dir) // Windows does not rename a folder that is in use
	}
	return found, disk.RemoveAll(ctx, gone)
}

// begin marks the lease, and returns its record; an empty one when it is gone.
func (s *Store) begin(ctx context.Context, dir disk.LeaseDir) (disk.Lease, error) {
	unlock, err := s.root.Lock(ctx)
	if err != nil {
		return disk.Lease{}, err
	}
	defer unlock()
	rec, err := dir.Read()
	if errors.Is(err, fs.ErrNotExist) {
		// Without its record a folder is no lease; what an interrupted removal
		// left of it must go all the same.
		return disk.Lease{}, disk.RemoveAll(ctx, string(dir))
	}
	if err == nil && !s.owns(rec) && !over(rec, time.Now()) {
		return disk.Lease{}, fault.New(fault.NameTaken, "lease %s: belongs to another owner", rec.Name)
	}
	if err != nil || rec.Releasing {
		return rec, err
	}
	rec.Releasing = true
	if err := dir.Write(rec); err != nil && !disk.IsFull(err) {
		return rec, err
	}
	return rec, nil
}

// killRuns kills what is left of the lease's runs. Since the lease is marked,
// no further run starts.
func (s *Store) killRuns(ctx context.Context, dir disk.LeaseDir) error {
	if info, err := os.Lstat(string(dir)); err != nil || !info.IsDir() {
		return err // no folder, so no runs
	}
	runs, err := dir.List()
	if err != nil {
		return err
	}
	for _, r := range runs {
		if !r.Live() {
			continue
		}
		s.log.Info("kill run of released lease", "lease", r.Lease, "run", r.ID, "pid", r.Tree.PID)
		if err := proc.Kill(ctx, r.Tree); err != nil {
			return err
		}
		if proc.Alive(r.Daemon) {
			s.settle(ctx, dir, r.ID)
		}
	}
	return nil
}

// settle waits until the daemon has written down that the run ended. When it
// does not, the folder goes all the same.
func (s *Store) settle(ctx context.Context, dir disk.LeaseDir, id string) {
	ctx, cancel := context.WithTimeout(ctx, settleLimit)
	defer cancel()
	run, err := dir.Run(id)
	if err != nil {
		return // it was listed under this name, so it is one
	}
	for {
		r, err := run.Read()
		if err != nil || !r.Live() {
			return
		}
		select {
		case <-time.After(5 * time.Millisecond):
		case <-ctx.Done():
			s.log.Warn("daemon has not seen the end of its run", "run", id)
			return
		}
	}
}

// A Swept counts what a sweep did.
type Swept struct {
	Leases []string // released, because they expired or their release was interrupted
	Runs   []string // killed and marked as lost, because their daemon died
	Broken []string // leases whose record cannot be read and that stay for a while
}

// Sweep releases leases that expired, completes releases that were
// interrupted, and ends runs whose daemon is dead.
func (s *Store) Sweep(ctx context.Context) (Swept, error) {
	var done Swept
	recs, broken, err := s.all()
	if err != nil {
		return done, err
	}
	var errs []error
	if done.Broken, err = s.sweepBroken(ctx, broken); err != nil {
		errs = append(errs, err)
	}
	now := time.Now()
	for _, rec := range recs {
		if over(rec, now) {
			s.log.Info("release", "lease", rec.Name, "expires", rec.Expires, "interrupted", rec.Releasing)
			if _, err := s.Release(ctx, wire.LeaseRelease{Name: rec.Name}); err != nil {
				errs = append(errs, err)
				continue
			}
			done.Leases = append(done.Leases, rec.Name)
			continue
		}
		lost, err := s.Orphans(ctx, rec.Name)
		done.Runs = append(done.Runs, lost...)
		errs = append(errs, err)
	}
	return done, errors.Join(append(errs, s.leftovers(ctx, len(broken) > 0))...)
}

func (s *Store) releaseExpired(ctx context.Context) error {
	recs, _, err := s.all()
	if err != nil {
		return err
	}
	var errs []error
	for _, rec := range recs {
		if over(rec, time.Now()) {
			_, err := s.Release(ctx, wire.LeaseRelease{Name: rec.Name})
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// Orphans kills what is left of the lease's runs whose daemon is dead, marks
// them as lost and returns their names.
func (s *Store) Orphans(ctx context.Context, lease string) ([]string, error) {
	dir, err := s.root.Lease(lease)
	if err != nil {
		return nil, err
	}
	runs, err := dir.List()
	if err != nil {
		return nil, err
	}
	var lost []string
	var errs []error
	for _, r := range runs {
		if !r.Live() || r.State == disk.Unreadable || proc.Alive(r.Daemon) {
			continue
		}
		s.log.Info("kill run whose daemon died", "lease", lease, "run", r.ID, "pid", r.Tree.PID)
		if err := proc.Kill(ctx, r.Tree); err != nil {
			errs = append(errs, err)
			continue
		}
		r.State = disk.Lost
		run, err := dir.Run(r.ID)
		if err == nil {
			err = run.Write(r)
		}
		errs = append(errs, err)
		lost = append(lost, r.ID)
	}
	return lost, errors.Join(errs...)
}

// leftovers removes what interrupted acquires and releases left, and what has no record and so
// is no lease. New folders are made under the lock, so one that is seen under it is nobody's.
// With broken leases nobody knows which temporary folders are theirs.
func (s *Store) leftovers(ctx context.Context, broken bool) error {
	unlock, err := s.root.Lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	entries, err := os.ReadDir(s.root.Leases())
	if err != nil {
		return disk.Fault("leases", err)
	}
	var errs []error
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".new-") || strings.HasPrefix(e.Name(), ".gone-") || s.noRecord(e.Name()) {
			errs = append(errs, disk.RemoveAll(ctx, filepath.Join(s.root.Leases(), e.Name())))
		}
	}
	if broken {
		return errors.Join(errs...)
	}
	recs, _, err := s.all()
	if err != nil {
		return errors.Join(append(errs, err)...)
	}
	return errors.Join(append(errs, s.root.RemoveTmp(ctx, func(dir string) bool {
		return slices.ContainsFunc(recs, func(l disk.Lease) bool { return l.Tmp == dir })
	}))...)
}

// noRecord tells whether a folder has the name of a lease, and no record.
func (s *Store) noRecord(name string) bool {
	dir, err := s.root.Lease(name)
	if err != nil {
		return false
	}
	_, err = dir.Read()
	return errors.Is(err, fs.ErrNotExist)
}
