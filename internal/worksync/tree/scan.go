package tree

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"time"

	"outrigger.dev/outrigger/internal/worksync/ignore"
)

// MaxEntries bounds a tree, as read here and as told by the other side.
const MaxEntries = 2 << 20

// A Scanner walks a tree.
type Scanner struct {
	Ignore *ignore.Matcher
	// Temp is called for each temporary file of a sync that was met, which is
	// otherwise passed over. May be nil.
	Temp func(at *Folder, name string) error
	Now  func() time.Time // for stamps; nil is time.Now
}

// Scan visits all entries below root in walk order, with what the file system
// says of them and without digests. What cannot be read is visited as Closed;
// only root itself has to be readable. An error of visit ends it.
func (s Scanner) Scan(ctx context.Context, root *Folder, visit func(Node) error) error {
	if s.Now == nil {
		s.Now = time.Now
	}
	infos, err := root.list()
	if err != nil {
		return err
	}
	w := &walk{Scanner: s, visit: visit}
	top := &lazyFolder{opened: root}
	nodes, _, err := w.nodes(top, infos)
	if err != nil {
		return err
	}
	return w.walk(ctx, top, nodes)
}

// All scans and returns the whole list.
func (s Scanner) All(ctx context.Context, root *Folder) ([]Node, error) {
	var all []Node
	err := s.Scan(ctx, root, func(n Node) error {
		all = append(all, n)
		return nil
	})
	return all, err
}

type walk struct {
	Scanner
	visit func(Node) error
	count int
}

// found is a node with what is needed to go into it.
type found struct {
	Node
	info fs.FileInfo
}

// walk visits what is in a folder, which has been listed already, because a
// folder's own node depends on what is in it.
func (w *walk) walk(ctx context.Context, at *lazyFolder, nodes []found) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	for _, n := range nodes {
		if w.count++; w.count > MaxEntries {
			return fmt.Errorf("more than %d files and folders", MaxEntries)
		}
		if n.Kind != Dir {
			if err := w.visit(n.Node); err != nil {
				return err
			}
			continue
		}
		if err := w.enter(ctx, at, n); err != nil {
			return err
		}
	}
	return nil
}

func (w *walk) enter(ctx context.Context, at *lazyFolder, n found) error {
	sub := &lazyFolder{info: n.info, Path: n.Path}
	defer sub.close()
	below, err := w.list(at, sub, &n)
	switch {
	case Vanished(err):
		return nil // gone since its folder was listed
	case err != nil && !Local(err):
		return err
	case err != nil:
		n.Closed = Reason(err)
	}
	if err := w.visit(n.Node); err != nil {
		return err
	}
	return w.walk(ctx, sub, below)
}

// list looks at what is in the folder of a node.
func (w *walk) list(at, sub *lazyFolder, n *found) ([]found, error) {
	dir, err := at.open()
	if err != nil {
		return nil, err
	}
	sub.above = dir
	infos, err := dir.listSub(n.info)
	if err != nil {
		return nil, err
	}
	below, holds, err := w.nodes(sub, infos)
	n.Holds = holds
	return below, err
}

// lazyFolder is a folder that is opened when something in it needs it to be.
type lazyFolder struct {
	Path   string
	above  *Folder
	info   fs.FileInfo
	opened *Folder
}

func (l *lazyFolder) open() (*Folder, error) {
	if l.opened == nil {
		d, err := l.above.sub(l.info.Name(), l.info)
		if err != nil {
			return nil, err
		}
		l.opened = d
	}
	return l.opened, nil
}

func (l *lazyFolder) close() {
	if l.opened != nil && l.above != nil {
		l.opened.Close() // only a handle for looking; nothing can be lost
	}
}

// nodes makes nodes of a listing; holds tells whether anything was left out.
func (w *walk) nodes(at *lazyFolder, infos []fs.FileInfo) (nodes []found, holds bool, err error) {
	now := w.Now()
	nodes = make([]found, 0, len(infos))
	for _, fi := range infos {
		path := Join(at.Path, fi.Name())
		if IsTemp(fi.Name()) {
			if w.Temp == nil {
				holds = true
				continue
			}
			dir, err := at.open()
			if err == nil {
				err = w.Temp(dir, fi.Name())
			}
			if err != nil {
				return nil, false, err
			}
			continue
		}
		if w.Ignore.Match(path, fi.IsDir()) {
			holds = true
			continue
		}
		if len(path) > MaxPath {
			return nil, false, pathError("look at", path, fmt.Errorf("path of %d bytes, want at most %d", len(path), MaxPath))
		}
		e, err := entryOf(at, path, fi)
		if Vanished(err) {
			continue
		}
		n := Node{Entry: e, Stamp: StampOf(fi, now)}
		if err != nil {
			n.Kind, n.Closed = Special, Reason(err)
		} else if e.Kind == File && maybeClosed(fi) {
			n.Closed = closed(at, fi)
		}
		if n.Kind == Special {
			holds = true
		}
		nodes = append(nodes, found{n, fi})
	}
	return nodes, holds, nil
}

// closed says why a file cannot be opened, "" if it can, or is gone.
func closed(at *lazyFolder, fi fs.FileInfo) string {
	dir, err := at.open()
	if err != nil {
		return ""
	}
	f, _, err := dir.OpenFile(fi.Name())
	if err != nil {
		if errors.Is(err, fs.ErrPermission) {
			return Reason(err)
		}
		return "" // whoever reads it will see
	}
	f.Close()
	return ""
}

func entryOf(at *lazyFolder, path string, fi fs.FileInfo) (Entry, error) {
	e := Entry{Path: path}
	switch fi.Mode().Type() {
	case 0:
		e.Kind, e.Mode, e.Size, e.MTime = File, modeOf(fi), fi.Size(), nanos(fi.ModTime())
	case fs.ModeDir:
		e.Kind, e.Mode, e.MTime = Dir, modeOf(fi), nanos(fi.ModTime())
	case fs.ModeSymlink:
		dir, err := at.open()
		if err != nil {
			return e, err
		}
		target, err := dir.Readlink(fi.Name())
		if err != nil {
			return e, dir.At("read link", fi.Name(), err)
		}
		e.Kind, e.Target = Link, LinkTarget(target)
	default:
		e.Kind = Special
	}
	return e, nil
}

// LinkTarget words a link's target as an entry does, with slashes.
func LinkTarget(target string) string { return filepath.ToSlash(target) }
