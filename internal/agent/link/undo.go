package link

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"outrigger.dev/outrigger/internal/agent/disk"
)

// Undo removes a link and the folders made for it, and returns what is left of them.
//
// Nothing was at the path when the link was made. So what is there instead came since, and
// mostly from what ran in the lease: tar -C / -x replaces a link by a folder. With clean it is
// removed, and so is what is in the folders made for the link, unless keep says that
// a folder is needed. Without clean it may be somebody's own, and stays.
func Undo(ctx context.Context, l disk.Link, clean bool, keep func(dir string) bool) (left []disk.Left, err error) {
	place := native(l.Place)
	if there, err := intact(l); err != nil {
		return nil, disk.Fault("path "+l.Place, err)
	} else if there {
		if err := remove(ctx, place); err != nil {
			return nil, disk.Fault("unlink "+l.Place, err)
		}
	} else if l, found := displaced(ctx, place, "something else than the link that was made is there", clean); found {
		left = append(left, l)
	}
	for _, made := range slices.Backward(l.Made) {
		dir := native(made)
		if _, err := os.Lstat(dir); absent(err) {
			continue
		}
		entries, err := os.ReadDir(dir) // it may be a file by now
		if err == nil && len(entries) == 0 {
			err = remove(ctx, dir)
		}
		if err == nil && len(entries) == 0 {
			continue
		}
		if keep(made) {
			break // another lease uses it, and so all above it
		}
		if l, found := displaced(ctx, dir, "the folder was made for a link and holds something else", clean); found {
			left = append(left, l)
			break
		}
	}
	return left, nil
}

// displaced deals with what is at a path of ours and is not ours.
func displaced(ctx context.Context, path, why string, clean bool) (disk.Left, bool) {
	if _, err := os.Lstat(path); absent(err) {
		return disk.Left{}, false
	}
	if !clean {
		return disk.Left{Path: path, Why: why}, true
	}
	if err := RemoveTree(ctx, path); err != nil {
		return disk.Left{Path: path, Why: why + ": " + err.Error()}, true
	}
	return disk.Left{}, false
}

// RemoveTree removes what is at path with everything in it, but nothing that is mounted there.
func RemoveTree(ctx context.Context, path string) error {
	mounts, err := mountPoints()
	if err != nil {
		return disk.Fault("mounts", err)
	}
	for _, m := range mounts {
		if m == path || strings.HasPrefix(m, path+"/") {
			return disk.Fault("remove "+path, errors.New("something is mounted at "+m))
		}
	}
	return removeAll(ctx, path)
}

// absent tells whether err says that nothing is at a path, or that what should be a folder above it is none.
func absent(err error) bool { return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) }

// intact tells whether the link is there and leads to its target.
func intact(l disk.Link) (bool, error) {
	info, err := os.Lstat(native(l.Place))
	if absent(err) {
		return false, nil
	}
	if err != nil || !isLink(info) {
		return false, err
	}
	target, err := os.Readlink(native(l.Place))
	if err != nil {
		return false, nil //nolint:nilerr // Windows: an irregular file that is no link is not ours
	}
	return sameTarget(target, l.Target), nil
}

// Replaced tells whether something is at the absolute path that does not lead to target.
func Replaced(path, target string) bool {
	return ReplacedInside(native(path), target)
}

// LeadsInto tells whether a link is at the absolute path that leads to something in folder.
func LeadsInto(path, folder string) bool {
	to, err := os.Readlink(native(path))
	if err != nil {
		return false
	}
	rel, err := filepath.Rel(folder, to)
	return err == nil && filepath.IsLocal(rel)
}

// ReplacedInside is Replaced for a path as the system has it.
func ReplacedInside(path, target string) bool {
	if _, err := os.Lstat(path); absent(err) {
		return false // removed, so nothing was put there
	}
	if to, err := os.Readlink(path); err == nil && sameTarget(to, target) {
		return false
	}
	at, err1 := os.Stat(path)
	to, err2 := os.Stat(target)
	return err1 != nil || err2 != nil || !os.SameFile(at, to)
}
