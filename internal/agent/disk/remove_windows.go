package disk

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/windows"
)

// removeTree is os.RemoveAll, also where the file system cannot do what that
// needs: file systems that are not NTFS, and Wine's.
func removeTree(dir string) error {
	err := os.RemoveAll(dir)
	if !errors.Is(err, windows.ERROR_INVALID_FUNCTION) && !errors.Is(err, windows.ERROR_NOT_SUPPORTED) {
		return err
	}
	return removePlain(dir)
}

// removePlain removes by name. A link to a folder is no folder to Lstat, so
// nothing behind it is touched.
func removePlain(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var errs []error
	if info.IsDir() {
		entries, err := os.ReadDir(path)
		errs = append(errs, err)
		for _, e := range entries {
			errs = append(errs, removePlain(filepath.Join(path, e.Name())))
		}
	}
	return errors.Join(append(errs, os.Remove(path))...)
}

// clearReadOnly takes the read-only attribute off a file, which keeps it from
// being removed.
func clearReadOnly(parent *os.Root, name string, info fs.FileInfo) error {
	if info.Mode().Perm()&0o200 != 0 {
		return nil
	}
	return parent.Chmod(name, 0o600)
}

// removeAsRoot is not tried: there is no sudo to ask.
func removeAsRoot(context.Context, string) error { return errors.ErrUnsupported }
