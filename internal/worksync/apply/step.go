package apply

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"time"

	"outrigger.dev/outrigger/internal/worksync/tree"
)

// Delete removes what the scan saw at path. A folder that holds what is not
// synced, or what was left, stays, as do the folders around it.
func (a *Applier) Delete(path string) error {
	if a.holdsLeft(path) {
		a.kept[path] = true
		return a.failed()
	}
	err := a.one(path, func() error { return a.remove(path) })
	if a.holdsLeft(path) {
		a.kept[path] = true
	}
	return err
}

func (a *Applier) remove(path string) error {
	seen := a.expected(path)
	if seen == nil {
		i, ok := tree.Find(a.cfg.Seen, path)
		if ok && a.cfg.Seen[i].Stamp.Absent {
			return nil // never was here
		}
		return fmt.Errorf("%w: delete %q, which is not there", tree.ErrCodec, path)
	}
	at, err := a.cursor.Folder(tree.Parent(path))
	if err != nil {
		return err
	}
	name := tree.Name(path)
	if a.kept[path] || a.cfg.Fixed[path] {
		return nil
	}
	if seen.Kind == tree.Dir && seen.Holds {
		a.keep(path)
		return nil
	}
	err = verify(at, name, seen)
	if errors.Is(err, errGone) {
		err = nil // as it was to be
	} else if err == nil {
		err = at.At("delete", name, a.within(at, func() error { return at.Remove(name) }))
	}
	if err != nil {
		if seen.Kind == tree.Dir && errors.Is(err, fs.ErrExist) {
			err = at.At("delete", name, fmt.Errorf("%w: something was put into it", errMeanwhile))
		}
		return err
	}
	a.gone[path] = true
	a.mu.Lock()
	delete(a.late, path) // a folder that was made writable to be emptied
	delete(a.times, path)
	a.mu.Unlock()
	a.deleted.Add(1)
	return nil
}

// keep marks a folder that stays and, because of it, those around it.
func (a *Applier) keep(path string) {
	a.warn(fmt.Sprintf("%q: kept, because it holds files that are not synced", path))
	for ; path != "" && !a.cfg.Fixed[path]; path = tree.Parent(path) {
		a.kept[path] = true
	}
}

// Aside renames what the scan saw at path by adding to its name.
func (a *Applier) Aside(path, suffix string) error {
	if err := a.Settle(); err != nil || a.blocked(path) {
		return err
	}
	return a.leave(path, true, a.putAside(path, path+suffix))
}

func (a *Applier) putAside(path, to string) error {
	if err := tree.CheckPath(to); err != nil {
		return err
	}
	seen := a.expected(path)
	if seen == nil || tree.Parent(to) != tree.Parent(path) {
		return fmt.Errorf("%w: put %q aside as %q", tree.ErrCodec, path, to)
	}
	at, err := a.cursor.Folder(tree.Parent(path))
	if err != nil {
		return err
	}
	name, free := tree.Name(path), tree.Name(to)
	if err := verify(at, name, seen); err != nil {
		return err
	}
	if err := verify(at, free, nil); err != nil {
		return err
	}
	if err := a.within(at, func() error { return at.Rename(name, free) }); err != nil {
		return at.At("rename", name, err)
	}
	for i, _ := tree.Find(a.cfg.Seen, path); i < len(a.cfg.Seen); i++ {
		if p := a.cfg.Seen[i].Path; p != path && !strings.HasPrefix(p, path+"/") {
			break
		}
		a.gone[a.cfg.Seen[i].Path] = true
	}
	return nil
}

// Make makes a folder or a link.
func (a *Applier) Make(e tree.Entry) error {
	if a.holdsLeft(e.Path) {
		return a.leaveOut(e.Path) // what is to make room for it is still there
	}
	if err := a.Settle(); err != nil {
		return err
	}
	if a.skips(e.Path) {
		return nil
	}
	return a.leave(e.Path, e.Kind == tree.Dir, a.makeEntry(e))
}

// leaveOut lets nothing come below path, without a word: why was said of what was left.
func (a *Applier) leaveOut(path string) error {
	a.mu.Lock()
	a.missing[path] = true
	a.mu.Unlock()
	return a.failed()
}

func (a *Applier) makeEntry(e tree.Entry) error {
	if seen := a.expected(e.Path); seen != nil && a.cfg.Fixed[e.Path] {
		return fmt.Errorf("%q: a %v is to take the place of a %v that is fixed there: %w", e.Path, e.Kind, seen.Kind, errMeanwhile)
	}
	at, err := a.cursor.Folder(tree.Parent(e.Path))
	if err != nil {
		return err
	}
	if e.Kind == tree.Dir {
		return a.makeFolder(at, e)
	}
	return a.makeLink(at, e)
}

func (a *Applier) makeFolder(at *tree.Folder, e tree.Entry) error {
	name := tree.Name(e.Path)
	if seen := a.expected(e.Path); seen != nil {
		return fmt.Errorf("%w: make folder %q where a %v is", tree.ErrCodec, e.Path, seen.Kind)
	}
	err := a.within(at, func() error { return at.Mkdir(name, 0o700) })
	if errors.Is(err, fs.ErrExist) {
		err = errAppeared
	}
	if err != nil {
		return at.At("make folder", name, err)
	}
	stamp, err := a.folderMode(at, name, e)
	if err != nil {
		return err
	}
	a.record(tree.Node{Entry: e, Stamp: stamp})
	a.dirs.Add(1)
	return nil
}

// folderMode sets the mode of a folder, at once as far as we can still work in
// it, the rest at the end.
func (a *Applier) folderMode(at *tree.Folder, name string, e tree.Entry) (tree.Stamp, error) {
	mode := tree.FileMode(e.Mode)
	if mode&0o700 != 0o700 || a.waits(e.Path) {
		a.mu.Lock()
		a.late[e.Path] = mode
		a.mu.Unlock()
		mode |= 0o700
	}
	a.setTime(e)
	err := a.chmod(at, name, mode)
	if errors.Is(err, fs.ErrPermission) && hasMode(at, name, mode) {
		err = nil // somebody else's folder, in which we may write and no more
	}
	if err != nil && !a.cfg.Ways.NoModes && !a.cfg.Fixed[e.Path] {
		return tree.Stamp{}, at.At("set mode of", name, err)
	}
	fi, err := at.Lstat(name)
	if err != nil {
		return tree.Stamp{}, at.At("look at", name, err)
	}
	return tree.StampOf(fi, time.Now()), nil
}

// hasMode tells whether a folder has a mode already.
func hasMode(at *tree.Folder, name string, mode fs.FileMode) bool {
	const bits = fs.ModePerm | specialBits
	fi, err := at.Lstat(name)
	return err == nil && fi.IsDir() && fi.Mode()&bits == mode&bits
}

func (a *Applier) waits(path string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	_, ok := a.late[path]
	return ok
}

func (a *Applier) makeLink(at *tree.Folder, e tree.Entry) error {
	name := tree.Name(e.Path)
	seen := a.expected(e.Path)
	if a.cfg.Ways.NoLinks {
		return a.missLink(at, name, e, seen)
	}
	if err := verify(at, name, seen); err != nil {
		return err
	}
	made := name
	if seen != nil {
		made = a.tempName()
	}
	err := a.within(at, func() error { return at.Symlink(filepath.FromSlash(e.Target), made) })
	if errors.Is(err, fs.ErrExist) {
		err = errAppeared
	}
	if err != nil {
		return at.At("make link", name, err)
	}
	if made != name {
		if err := at.Rename(made, name); err != nil {
			return errors.Join(at.At("make link", name, err), at.Remove(made))
		}
	}
	fi, err := at.Lstat(name)
	if err != nil {
		return at.At("look at", name, err)
	}
	a.record(tree.Node{Entry: e, Stamp: tree.StampOf(fi, time.Now())})
	a.links.Add(1)
	return nil
}

// missLink notes a link that cannot exist here. It stays in the baseline, so
// its absence will not be taken for a deletion, and it is named in a warning.
func (a *Applier) missLink(at *tree.Folder, name string, e tree.Entry, seen *tree.Node) error {
	if seen != nil {
		if err := verify(at, name, seen); err != nil {
			return err
		}
		if err := a.within(at, func() error { return at.Remove(name) }); err != nil {
			return at.At("delete", name, err)
		}
	}
	a.warn(fmt.Sprintf("%q: symbolic links cannot be made there; left out", e.Path))
	a.record(tree.Node{Entry: e, Stamp: tree.Stamp{Absent: true}})
	return nil
}

// Meta sets the mode and modification time of what is there.
func (a *Applier) Meta(e tree.Entry) error {
	return a.one(e.Path, func() error { return a.meta(e) })
}

func (a *Applier) meta(e tree.Entry) error {
	seen := a.expected(e.Path)
	if seen == nil || seen.Kind != e.Kind || seen.Size != e.Size || e.Kind == tree.Link {
		return fmt.Errorf("%w: set mode of %q, which is no such %v", tree.ErrCodec, e.Path, e.Kind)
	}
	at, err := a.cursor.Folder(tree.Parent(e.Path))
	if err != nil {
		return err
	}
	name := tree.Name(e.Path)
	if err := verify(at, name, seen); err != nil {
		return err
	}
	stamp, err := a.setMeta(at, name, e, seen)
	if err != nil {
		return err
	}
	a.record(tree.Node{Entry: e, Stamp: stamp})
	if e.Kind == tree.File || e.Mode != seen.Mode {
		a.metas.Add(1) // that a folder's time moves goes without saying
	}
	return nil
}

func (a *Applier) setMeta(at *tree.Folder, name string, e tree.Entry, seen *tree.Node) (tree.Stamp, error) {
	if e.Kind == tree.Dir {
		return a.folderMode(at, name, e)
	}
	if e.Mode != seen.Mode {
		if err := a.chmod(at, name, tree.FileMode(e.Mode)); err != nil && !a.cfg.Ways.NoModes && !a.cfg.Fixed[e.Path] {
			return tree.Stamp{}, at.At("set mode of", name, err)
		}
	}
	if e.MTime != seen.MTime {
		if err := at.Chtimes(name, time.Time{}, time.Unix(0, e.MTime)); err != nil && !a.cfg.Fixed[e.Path] {
			return tree.Stamp{}, at.At("set time of", name, err)
		}
	}
	fi, err := at.Lstat(name)
	if err != nil {
		return tree.Stamp{}, at.At("look at", name, err)
	}
	return tree.StampOf(fi, time.Now()), nil
}
