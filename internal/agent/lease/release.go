package lease

import (
	"context"
	"crypto/rand"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"outrigger.dev/outrigger/internal/agent/disk"
	"outrigger.dev/outrigger/internal/agent/link"
	"outrigger.dev/outrigger/internal/agent/proc"
)

// settleLimit is how long a release waits for a living daemon to see that its
// killed run has ended, so that it does not write into what is being removed.
const settleLimit = 2 * time.Second

// Release ends a lease: its processes, its links, its folder. A lease that is
// not there is released already. It may be repeated after any crash, and be
// done twice at once.
func (s *Store) Release(ctx context.Context, name string) error {
	dir, err := s.root.Lease(name)
	if err != nil {
		return err
	}
	rec, err := s.begin(ctx, dir)
	if err != nil || rec.Name == "" {
		return err
	}
	if err := s.killRuns(ctx, dir); err != nil {
		return err
	}
	for _, l := range rec.Links {
		if err := link.Undo(ctx, l); err != nil {
			return err
		}
	}
	// Renamed, it is gone at once; what the removal leaves is for a sweep.
	gone := filepath.Join(s.root.Leases(), ".gone-"+name+"-"+rand.Text()[:8])
	err = os.Rename(string(dir), gone)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // somebody else was as far at the same time
	}
	if err != nil {
		gone = string(dir) // Windows does not rename a folder that is in use
	}
	return disk.RemoveAll(ctx, gone)
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
}

// Sweep releases leases that expired, completes releases that were
// interrupted, and ends runs whose daemon is dead.
func (s *Store) Sweep(ctx context.Context) (Swept, error) {
	var done Swept
	recs, err := s.all()
	if err != nil {
		return done, err
	}
	var errs []error
	now := time.Now()
	for _, rec := range recs {
		if rec.Releasing || now.After(rec.Expires) {
			s.log.Info("release", "lease", rec.Name, "expires", rec.Expires, "interrupted", rec.Releasing)
			if err := s.Release(ctx, rec.Name); err != nil {
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
	return done, errors.Join(append(errs, s.leftovers(ctx))...)
}

func (s *Store) releaseExpired(ctx context.Context) error {
	recs, err := s.all()
	if err != nil {
		return err
	}
	var errs []error
	for _, rec := range recs {
		if rec.Releasing || time.Now().After(rec.Expires) {
			errs = append(errs, s.Release(ctx, rec.Name))
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
		if !r.Live() || proc.Alive(r.Daemon) {
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

// leftovers removes what interrupted acquires and releases left. New folders
// are made under the lock, so one that is seen under it is nobody's.
func (s *Store) leftovers(ctx context.Context) error {
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
		if strings.HasPrefix(e.Name(), ".new-") || strings.HasPrefix(e.Name(), ".gone-") {
			errs = append(errs, disk.RemoveAll(ctx, filepath.Join(s.root.Leases(), e.Name())))
		}
	}
	return errors.Join(errs...)
}
