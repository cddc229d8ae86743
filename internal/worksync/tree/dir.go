package tree

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
)

// A Folder is an open folder inside a root. Names given to its methods are
// single components, so nothing is ever resolved through a symbolic link.
type Folder struct {
	*os.Root
	Path string // "" for the root itself
}

// OpenRoot opens the root of a synced tree. Path is the user's own choice and
// may go through links.
func OpenRoot(path string) (*Folder, error) {
	r, err := os.OpenRoot(path)
	if err != nil {
		return nil, err
	}
	return &Folder{Root: r}, nil
}

// Sub opens a folder in this one. Unlike os.Root, which follows links that
// stay inside, it refuses whatever is not itself a folder.
func (d *Folder) Sub(name string) (*Folder, error) {
	before, err := d.Lstat(name)
	if err != nil {
		return nil, d.errorAt("open", name, err)
	}
	return d.sub(name, before)
}

// sub opens the folder that an lstat found; if something else has taken its
// place since, it is refused.
func (d *Folder) sub(name string, found fs.FileInfo) (*Folder, error) {
	if !found.IsDir() {
		return nil, d.errorAt("open", name, ErrNotFolder)
	}
	r, err := d.OpenRoot(name)
	if err != nil {
		return nil, d.errorAt("open", name, err)
	}
	opened, err := r.Stat(".")
	if err == nil {
		err = d.sameFolder(found, opened)
	}
	if err != nil {
		r.Close()
		return nil, d.errorAt("open", name, err)
	}
	return &Folder{Root: r, Path: Join(d.Path, name)}, nil
}

// ErrNotFolder is something else where a folder was expected, such as a
// symbolic link on the way to a file.
var ErrNotFolder = fmt.Errorf("is not a folder: %w", fs.ErrInvalid)

// ErrNotFile is something else where a file was expected.
var ErrNotFile = fmt.Errorf("is not a regular file: %w", fs.ErrInvalid)

// list returns what is in the folder, by name.
func (d *Folder) list() ([]fs.FileInfo, error) {
	f, err := d.Open(".")
	if err != nil {
		return nil, pathError("open", d.Path, err)
	}
	defer f.Close()
	return infos(f, d.Path)
}

// listSub lists a folder in this one that an lstat found. A folder without
// folders in it needs no more than that, which spares a walk half of its calls.
func (d *Folder) listSub(found fs.FileInfo) ([]fs.FileInfo, error) {
	path := Join(d.Path, found.Name())
	f, err := d.Root.OpenFile(found.Name(), os.O_RDONLY|openNonblock, 0)
	if err != nil {
		return nil, pathError("open", path, err)
	}
	defer f.Close()
	opened, err := f.Stat()
	if err == nil {
		err = d.sameFolder(found, opened)
	}
	if err != nil {
		return nil, pathError("open", path, err)
	}
	return infos(f, path)
}

// sameFolder tells whether the folder that was opened is the one that was
// found. What a listing knows of an entry does not identify it everywhere, so
// before saying no it looks again.
func (d *Folder) sameFolder(found, opened fs.FileInfo) error {
	if os.SameFile(found, opened) {
		return nil
	}
	again, err := d.Lstat(found.Name())
	if err == nil && !(again.IsDir() && os.SameFile(again, opened)) {
		err = ErrNotFolder
	}
	return err
}

// infos lists an open folder. A folder opened through an os.Root looks at each
// entry as it lists, relative to itself and without following links.
func infos(f *os.File, path string) ([]fs.FileInfo, error) {
	entries, err := f.ReadDir(-1)
	if err != nil {
		return nil, pathError("list", path, err)
	}
	infos := make([]fs.FileInfo, 0, len(entries))
	for _, e := range entries {
		fi, err := e.Info()
		if err != nil {
			if os.IsNotExist(err) {
				continue // gone since the listing
			}
			return nil, pathError("look at", Join(path, e.Name()), err)
		}
		infos = append(infos, fi)
	}
	slices.SortFunc(infos, func(a, b fs.FileInfo) int { return strings.Compare(a.Name(), b.Name()) })
	return infos, nil
}

// OpenFile opens a regular file to read it, never through a link and never
// waiting for the other end of a pipe.
func (d *Folder) OpenFile(name string) (*os.File, fs.FileInfo, error) {
	return d.openFile(name, 0)
}

// openFile is OpenFile for a file whose inode may be known. If that is what was
// opened it cannot have been through a link, so no lstat is needed to tell.
func (d *Folder) openFile(name string, inode uint64) (*os.File, fs.FileInfo, error) {
	f, err := d.Root.OpenFile(name, os.O_RDONLY|openNonblock, 0)
	if err != nil {
		return nil, nil, d.errorAt("open", name, err)
	}
	opened, err := f.Stat()
	if err == nil && !opened.Mode().IsRegular() {
		err = ErrNotFile
	}
	if err == nil {
		if _, got := changed(opened); inode == 0 || got != inode {
			err = d.isItself(name, opened)
		}
	}
	if err != nil {
		f.Close()
		return nil, nil, d.errorAt("open", name, err)
	}
	return f, opened, nil
}

// isItself tells whether what was opened as name is there under that name, not
// behind a link.
func (d *Folder) isItself(name string, opened fs.FileInfo) error {
	fi, err := d.Lstat(name)
	if err == nil && !os.SameFile(fi, opened) {
		err = ErrNotFile
	}
	return err
}

func (d *Folder) errorAt(op, name string, err error) error {
	return pathError(op, Join(d.Path, name), err)
}

// pathError names the path from the root, where os.Root names only a part.
func pathError(op, path string, err error) error {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		err = e.Err
	} else if e, ok := errors.AsType[*os.LinkError](err); ok {
		err = e.Err
	}
	if path == "" {
		path = "."
	}
	return &fs.PathError{Op: op, Path: path, Err: err}
}

// At names err's path from the root; for errors of the embedded os.Root.
func (d *Folder) At(op, name string, err error) error {
	if err == nil {
		return nil
	}
	return d.errorAt(op, name, err)
}

// A Cursor opens folders by path and keeps those on the way to the last one
// open, which makes a visit in walk order cheap. It is for one goroutine.
type Cursor struct {
	stack []*Folder // root first; the root is not the cursor's to close
}

// NewCursor starts at root, which must stay open as long as the cursor.
func NewCursor(root *Folder) *Cursor { return &Cursor{stack: []*Folder{root}} }

// Folder opens the folder at path ("" is the root). It is valid until the next call.
func (c *Cursor) Folder(path string) (*Folder, error) {
	for !holds(c.stack[len(c.stack)-1].Path, path) {
		c.pop()
	}
	for {
		at := c.stack[len(c.stack)-1]
		if at.Path == path {
			return at, nil
		}
		rest := path
		if at.Path != "" {
			rest = path[len(at.Path)+1:]
		}
		name, _, _ := strings.Cut(rest, "/")
		next, err := at.Sub(name)
		if err != nil {
			return nil, err
		}
		c.stack = append(c.stack, next)
	}
}

// Close closes the folders that the cursor opened.
func (c *Cursor) Close() {
	for len(c.stack) > 1 {
		c.pop()
	}
}

func (c *Cursor) pop() {
	last := len(c.stack) - 1
	c.stack[last].Close() // only a handle for looking; nothing can be lost
	c.stack = c.stack[:last]
}

// holds tells whether path is dir or below it.
func holds(dir, path string) bool {
	return dir == "" || strings.HasPrefix(path, dir) && (len(path) == len(dir) || path[len(dir)] == '/')
}
