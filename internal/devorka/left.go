package devorka

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"time"

	"github.com/gofrs/flock"

	"outrigger.dev/outrigger/internal/devorka/machines"
	"outrigger.dev/outrigger/internal/devorka/operator"
	"outrigger.dev/outrigger/internal/devorka/store"
)

const tempPrefix = "outrigger-orka-"

// leftAfter is how old a folder is before it may be that of a cluster that was
// killed: a younger one may not have its lock yet.
const leftAfter = time.Minute

// sweepLeft removes the folders of clusters that were killed, with what still runs
// on their machines. What cannot be removed now the next one will: nobody's work depends on it.
func (s *Server) sweepLeft() {
	dirs, err := filepath.Glob(filepath.Join(os.TempDir(), tempPrefix+"*"))
	if err != nil {
		return // the pattern is right
	}
	for _, dir := range dirs {
		info, err := os.Stat(filepath.Join(dir, "lock"))
		if err != nil || time.Since(info.ModTime()) < leftAfter {
			continue
		}
		lock := flock.New(filepath.Join(dir, "lock"))
		if free, err := lock.TryLock(); err != nil || !free {
			continue
		}
		if err := s.removeLeft(dir); err != nil {
			s.cfg.Log.Warn("leftover not removed", "folder", dir, "error", err)
		}
		_ = lock.Close() // of a lock that nobody waits for
	}
}

// sweepLimit is how long the machines of a cluster that was killed may take to end.
const sweepLimit = time.Minute

func (s *Server) removeLeft(dir string) error {
	ctx, cancel := context.WithTimeout(context.Background(), sweepLimit) // the cluster has no life of its own yet
	defer cancel()
	place, err := s.cfg.Machines(filepath.Join(dir, "machines"), s.cfg.Log)
	if err != nil {
		return err
	}
	if err := place.Sweep(ctx, nil); err != nil {
		return err
	}
	objects, err := store.Open(filepath.Join(dir, objectsFile))
	if err != nil {
		return err
	}
	return errors.Join(removeDisks(ctx, place, objects), os.RemoveAll(dir))
}

// removeDisks removes the disks of a cluster of which nothing is kept: those of virtual
// machines are not in its folder.
func removeDisks(ctx context.Context, place machines.Place, objects *store.Store) error {
	var errs []error
	for _, d := range operator.Disks(objects) {
		errs = append(errs, place.Remove(ctx, d))
	}
	return errors.Join(errs...)
}
