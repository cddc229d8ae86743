package disk

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// own are the folders that every lease is made with, and with modes that let its owner do everything.
func (d LeaseDir) own() []string {
	dirs := []string{string(d)}
	for _, sub := range []string{"work", "sync", "runs", "tmp"} {
		dirs = append(dirs, filepath.Join(string(d), sub))
	}
	return dirs
}

// Reopen gives the lease's own folders back what their owner may do in them. Commands run as the same user and
// may take it, by a chmod that reaches further than was meant: their results are still to be fetched, and
// the lease to be released.
func (d LeaseDir) Reopen() error { return reopen(d.own()) }

// reopened does what needs the paths, outermost first, and does it again with their modes put right
// if it may not.
func reopened(do func() error, paths ...string) error {
	err := do()
	if !errors.Is(err, fs.ErrPermission) {
		return err
	}
	if oerr := reopen(paths); oerr != nil {
		return errors.Join(err, oerr)
	}
	return do()
}

func reopen(paths []string) error {
	for _, path := range paths {
		info, err := os.Lstat(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return Fault("lease", err)
		}
		want := fs.FileMode(0o600)
		switch {
		case info.IsDir():
			want = 0o700
		case !info.Mode().IsRegular():
			continue // whoever reads it says so
		}
		if info.Mode().Perm()&want == want {
			continue
		}
		if err := os.Chmod(path, info.Mode().Perm()|want); err != nil {
			return Fault("lease", err)
		}
	}
	return nil
}
