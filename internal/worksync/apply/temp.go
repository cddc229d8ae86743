package apply

import (
	"context"
	"errors"
	"io/fs"
	"strings"

	"outrigger.dev/outrigger/internal/worksync/tree"
)

// CleanTemp removes the temporary files with this tag below root, which a
// process that was killed may have left. Folders that cannot be read are
// passed over: nothing was written there. Names are bytes: io/fs, which wants
// UTF-8, is of no use here.
func CleanTemp(ctx context.Context, root, tag string) (removed int, err error) {
	dir, err := tree.OpenRoot(root)
	if err != nil {
		return 0, err
	}
	defer dir.Close()
	c := cleaner{prefix: tree.TempPrefix + tag + "-"}
	err = c.clean(ctx, dir)
	return c.removed, err
}

type cleaner struct {
	prefix  string
	removed int
}

func (c *cleaner) clean(ctx context.Context, at *tree.Folder) error {
	entries, err := list(at)
	if err != nil {
		return passOver(err)
	}
	for _, e := range entries {
		if err := ctx.Err(); err != nil {
			return err
		}
		switch name := e.Name(); {
		case e.IsDir():
			err = c.below(ctx, at, name)
		case strings.HasPrefix(name, c.prefix):
			if err = at.Remove(name); err == nil {
				c.removed++
			}
			if errors.Is(err, fs.ErrNotExist) {
				err = nil
			}
			err = at.At("delete", name, err)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (c *cleaner) below(ctx context.Context, at *tree.Folder, name string) error {
	sub, err := at.Sub(name)
	if err != nil {
		return passOver(err)
	}
	defer sub.Close()
	return c.clean(ctx, sub)
}

// passOver forgives a folder that cannot be read, is gone, or is a link by now.
func passOver(err error) error {
	if errors.Is(err, fs.ErrPermission) || errors.Is(err, fs.ErrNotExist) || errors.Is(err, tree.ErrNotFolder) {
		return nil
	}
	return err
}

func list(at *tree.Folder) ([]fs.DirEntry, error) {
	f, err := at.Open(".")
	if err != nil {
		return nil, at.At("open", ".", err)
	}
	defer f.Close()
	entries, err := f.ReadDir(-1)
	return entries, at.At("list", ".", err)
}
