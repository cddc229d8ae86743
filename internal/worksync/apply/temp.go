package apply

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"outrigger.dev/outrigger/internal/worksync/tree"
)

// CleanTemp removes the temporary files with this tag below root, which a
// process that was killed may have left. Folders that cannot be read are
// passed over: nothing was written there.
func CleanTemp(ctx context.Context, root, tag string) (removed int, err error) {
	dir, err := os.OpenRoot(root)
	if err != nil {
		return 0, err
	}
	defer dir.Close()
	prefix := tree.TempPrefix + tag + "-"
	err = fs.WalkDir(dir.FS(), ".", func(path string, d fs.DirEntry, err error) error {
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, fs.ErrPermission) || errors.Is(err, fs.ErrNotExist):
			return nil
		case err != nil:
			return err
		case d.IsDir() || !strings.HasPrefix(d.Name(), prefix):
			return nil
		}
		err = dir.Remove(filepath.FromSlash(path))
		if err == nil {
			removed++
		}
		if errors.Is(err, fs.ErrNotExist) {
			err = nil
		}
		return err
	})
	return removed, err
}
