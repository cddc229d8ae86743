package apply

import (
	"errors"
	"io/fs"

	"outrigger.dev/outrigger/internal/worksync/tree"
)

// rename also replaces a read-only file, which Windows refuses at first.
func rename(at *tree.Folder, from, to string) error {
	err := at.Rename(from, to)
	if !errors.Is(err, fs.ErrPermission) {
		return err
	}
	if fi, lerr := at.Lstat(to); lerr != nil || !fi.Mode().IsRegular() || fi.Mode().Perm()&0o200 != 0 {
		return err
	}
	if cerr := at.Chmod(to, 0o600); cerr != nil {
		return err
	}
	return at.Rename(from, to)
}
