package runs

import (
	"errors"
	"io/fs"
	"path/filepath"

	"outrigger.dev/outrigger/internal/agent/disk"
)

// witnessed tells each synced folder of a lease that a run begins or has ended
// there: only then is what is missing from it taken for deleted. A folder that
// cannot be told is one whose losses are not believed, so nothing is lost by it.
func (s *Supervisor) witnessed(dir disk.LeaseDir, tell func(state, root string) error) {
	top, err := dir.Sync("")
	if err == nil {
		err = filepath.WalkDir(top, func(path string, d fs.DirEntry, err error) error {
			if err != nil || !d.IsDir() {
				return err
			}
			rel, err := filepath.Rel(top, path)
			if err != nil {
				return err
			}
			if rel == "." {
				rel = ""
			}
			root, err := dir.Work(filepath.ToSlash(rel))
			if err == nil {
				err = tell(path, root)
			}
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				s.cfg.Log.Warn("note a run in a synced folder", "folder", rel, "error", err)
			}
			return nil
		})
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		s.cfg.Log.Warn("note a run in the synced folders", "error", err)
	}
}
