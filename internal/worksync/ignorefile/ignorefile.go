// Package ignorefile reads the file in a synced folder that says what is not
// synced. It is the only reader: what checks the file before a machine is taken
// and what syncs must never see two different files.
//
// The file may have come from a machine, so nothing is read but a regular file
// of bounded size. It may be a symbolic link, because many people link it to
// .gitignore; the link is followed as long as it stays within the folder. A
// link out of it is refused: the patterns go to the machine, and so would any
// file here that a link names. What is there and cannot be read is an error,
// never an empty list, because then everything excluded would be copied.
package ignorefile

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"strings"

	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/worksync/ignore"
	"outrigger.dev/outrigger/internal/worksync/tree"
)

// MaxSize bounds the file: its patterns are sent in one message of 1 MiB.
const MaxSize = 512 << 10

// maxHops is how many links are followed, as on Linux.
const maxHops = 40

// A File is what was read.
type File struct {
	Patterns []string
	// Paths are the names by which the file was found, in the folder: the file's
	// own, links on the way, and at last the file that was read. Empty without one.
	Paths []string
}

// Read reads the file in root. That there is none is no error.
func Read(root *tree.Folder) (File, error) {
	f, err := read(root)
	if known, ok := errors.AsType[*fault.Error](err); ok {
		return File{}, known
	}
	if err != nil {
		return File{}, fault.New(fault.LocalFile, "%s: %w", ignore.FileName, err).
			WithRemedy("Make it a regular file, or a link to one within the folder, that you can read; or remove it.")
	}
	return f, nil
}

func read(root *tree.Folder) (File, error) {
	w := walk{cursor: tree.NewCursor(root), todo: []string{ignore.FileName}}
	defer w.cursor.Close()
	if _, err := root.Lstat(ignore.FileName); errors.Is(err, fs.ErrNotExist) {
		return File{}, nil
	}
	at, name, err := w.file()
	if err != nil {
		return File{}, err
	}
	f, _, err := at.OpenFile(name)
	if err != nil {
		return File{}, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, MaxSize+1))
	if err != nil {
		return File{}, err
	}
	if len(b) > MaxSize {
		return File{}, fault.New(fault.Usage, "%s: more than %d KiB, want at most that", ignore.FileName, MaxSize>>10)
	}
	if bytes.IndexByte(b, 0) >= 0 {
		return File{}, fault.New(fault.Usage, "%s: holds a zero byte, want plain text", ignore.FileName).
			WithRemedy("Save it as UTF-8; UTF-16, which some Windows programs write, is not read.")
	}
	patterns := ignore.Lines(string(b))
	if _, err := ignore.Parse(patterns); err != nil {
		return File{}, fault.New(fault.Usage, "%s: %w", ignore.FileName, err)
	}
	return File{Patterns: patterns, Paths: w.paths}, nil
}

// walk goes from the root to the file, component by component.
type walk struct {
	cursor *tree.Cursor
	at     string   // the folder that has been reached
	todo   []string // components still to go
	paths  []string
	hops   int
}

// file returns the folder and name of the regular file at the end.
func (w *walk) file() (at *tree.Folder, name string, err error) {
	for len(w.todo) > 0 {
		name, w.todo = w.todo[0], w.todo[1:]
		switch name {
		case "", ".":
			continue
		case "..":
			if w.at == "" {
				return nil, "", fmt.Errorf("is a link that leads out of the folder: %w", fs.ErrInvalid)
			}
			w.at = tree.Parent(w.at)
			continue
		}
		if at, err = w.cursor.Folder(w.at); err != nil {
			return nil, "", err
		}
		fi, err := at.Lstat(name)
		if err != nil {
			return nil, "", at.At("look at", name, err)
		}
		path := tree.Join(w.at, name)
		switch {
		case fi.Mode().Type() == fs.ModeSymlink:
			if err := w.follow(at, name); err != nil {
				return nil, "", err
			}
			w.paths = append(w.paths, path)
		case fi.IsDir() && len(w.todo) > 0:
			w.at = path
		case fi.Mode().IsRegular() && len(w.todo) == 0:
			w.paths = append(w.paths, path)
			return at, name, nil
		default:
			return nil, "", at.At("read", name, tree.ErrNotFile)
		}
	}
	return nil, "", fmt.Errorf("is a link to a folder: %w", tree.ErrNotFile)
}

// follow puts a link's target in the place of the link.
func (w *walk) follow(at *tree.Folder, name string) error {
	if w.hops++; w.hops > maxHops {
		return fmt.Errorf("leads through more than %d links: %w", maxHops, fs.ErrInvalid)
	}
	target, err := at.Readlink(name)
	if err != nil {
		return at.At("read link", name, err)
	}
	if filepath.IsAbs(target) || filepath.VolumeName(target) != "" || strings.HasPrefix(target, "/") {
		return fmt.Errorf("%q is a link to %q, want one within the folder: %w", tree.Join(w.at, name), target, fs.ErrInvalid)
	}
	w.todo = append(strings.Split(tree.LinkTarget(target), "/"), w.todo...)
	return nil
}
