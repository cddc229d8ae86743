package lease

import (
	"context"
	"crypto/rand"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"outrigger.dev/outrigger/internal/agent/disk"
	"outrigger.dev/outrigger/internal/agent/proc"
)

// brokenKeep is how long a lease stays whose record cannot be read: its files may be all
// that is left of somebody's work, and a person may still get at them.
const brokenKeep = 24 * time.Hour

// A broken lease has a record that makes no sense: the disk was full or failed, the machine
// lost its power, or something that was run here wrote to it.
type broken struct {
	name string
	dir  disk.LeaseDir
}

func newBroken(name string, dir disk.LeaseDir) broken { return broken{name, dir} }

// runs counts the runs that a living daemon looks after.
func (b broken) runs() (n int) {
	all, err := b.dir.List()
	if err != nil {
		return 0 // there is no folder of runs
	}
	for _, r := range all {
		if r.Live() && proc.Alive(r.Daemon) {
			n++
		}
	}
	return n
}

// over tells whether the lease has stayed for long enough. When its record was last written is when
// its expiry was last moved.
func (b broken) over(now time.Time) (bool, error) {
	info, err := os.Lstat(filepath.Join(string(b.dir), "lease.json"))
	if err != nil {
		info, err = os.Lstat(string(b.dir)) // no folder, or none that can be entered
	}
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, disk.Fault("lease "+b.name, err)
	}
	return now.Sub(info.ModTime()) > brokenKeep, nil
}

// sweepBroken removes leases that cannot be read, when their time is over, with what runs in
// them. Those that stay are returned.
func (s *Store) sweepBroken(ctx context.Context, all []broken) (left []string, err error) {
	var errs []error
	for _, b := range all {
		over, err := b.over(time.Now())
		if err == nil && over {
			s.log.Info("remove lease whose record cannot be read", "lease", b.name)
			err = s.removeBroken(ctx, b)
		}
		if err != nil || !over {
			left = append(left, b.name)
		}
		errs = append(errs, err)
	}
	return left, errors.Join(errs...)
}

func (s *Store) removeBroken(ctx context.Context, b broken) error {
	unlock, err := s.root.Lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	if _, err := b.dir.Read(); err == nil || errors.Is(err, fs.ErrNotExist) {
		return nil // it was put right, or is gone
	}
	if err := s.killRuns(ctx, b.dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	gone := filepath.Join(s.root.Leases(), goneName(b.name))
	if err := os.Rename(string(b.dir), gone); err != nil {
		gone = string(b.dir) // Windows does not rename a folder that is in use
	}
	return disk.RemoveAll(ctx, gone)
}

// goneName is what the folder of a released lease is called until it is removed.
func goneName(lease string) string { return ".gone-" + lease + "-" + rand.Text()[:8] }
