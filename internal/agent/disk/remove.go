package disk

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// removeLimit is how long a folder is tried to be removed that something still
// writes to, or that Windows holds because a file in it is open.
const removeLimit = 5 * time.Second

// RemoveAll removes a folder with everything in it, also what its modes forbid.
// Nothing outside is touched, whatever links are in it.
func RemoveAll(ctx context.Context, dir string) error {
	ctx, cancel := context.WithTimeout(ctx, removeLimit)
	defer cancel()
	for {
		err := removeTree(dir)
		if err == nil {
			return nil
		}
		if errors.Is(err, fs.ErrPermission) {
			if oerr := openUp(dir); oerr != nil && !errors.Is(oerr, fs.ErrNotExist) {
				err = errors.Join(err, oerr)
			} else if err = removeTree(dir); err == nil {
				return nil
			}
			if errors.Is(err, fs.ErrPermission) {
				if asRoot := removeAsRoot(ctx, dir); asRoot == nil {
					return nil
				}
			}
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			return Fault("remove", err)
		}
	}
}

// openUp gives the folders in dir the modes that removing wants. It goes
// through os.Root, so a link that something puts in its way leads nowhere.
func openUp(dir string) error {
	parent, err := os.OpenRoot(filepath.Dir(dir))
	if err != nil {
		return err
	}
	defer parent.Close()
	return openFolder(parent, filepath.Base(dir))
}

func openFolder(parent *os.Root, name string) error {
	info, err := parent.Lstat(name)
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return clearReadOnly(parent, name, info)
	}
	if info.Mode().Perm()&0o700 != 0o700 {
		if err := parent.Chmod(name, info.Mode().Perm()|0o700); err != nil {
			return err
		}
	}
	root, err := parent.OpenRoot(name)
	if err != nil {
		return err
	}
	defer root.Close()
	f, err := root.Open(".")
	if err != nil {
		return err
	}
	entries, err := f.ReadDir(-1)
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	var errs []error
	for _, e := range entries {
		if e.IsDir() || e.Type().IsRegular() {
			errs = append(errs, openFolder(root, e.Name()))
		}
	}
	return errors.Join(errs...)
}
