package names

import (
	"errors"
	"io/fs"
	"os"
	"runtime"
	"syscall"
	"time"

	"outrigger.dev/outrigger/internal/worksync/tree"
)

// Probe tries out how dir treats names, by making files whose names begin with
// prefix, and leaves none behind, nor the time at which it did. If it may not
// write there, the answer is what is usual on this system.
func Probe(dir *tree.Folder, prefix string) (Ways, error) {
	w := usual()
	before, err := dir.Stat(".")
	if err != nil {
		return w, dir.At("look at", ".", err)
	}
	// In somebody else's folder the time cannot be set; it is only a time.
	defer func() { _ = dir.Chtimes(".", time.Time{}, before.ModTime()) }()
	base := prefix + "probe"
	err = create(dir, base)
	if errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EROFS) {
		return w, nil
	}
	if err != nil {
		return w, dir.At("write", base, err)
	}
	defer func() { _ = dir.Remove(base) }() // a leftover is swept with the other temporary files
	if w.FoldsCase, err = exists(dir, prefix+"PROBE"); err != nil {
		return w, err
	}
	if !w.NoModes {
		if w.NoModes, err = losesModes(dir, base); err != nil {
			return w, err
		}
	}
	if w.FoldsNorm, err = folds(dir, prefix+"\u00e9", prefix+"e\u0301"); err != nil {
		return w, err
	}
	// A name that cannot be made is an answer here, whatever the error says.
	w.UTF8Only = isWindows || !canMake(dir, prefix+"\xff")
	w.DOS = w.DOS || !canMake(dir, prefix+"a?b")
	w.NoLinks = !canLink(dir, prefix+"link")
	return w, nil
}

const isWindows = runtime.GOOS == "windows"

// usual is how the file systems of this system commonly are. Windows does not
// refuse bytes that are not UTF-8, because Go makes something else of them
// before it could, nor does it keep modes, whatever a probe says.
func usual() Ways {
	isMac := runtime.GOOS == "darwin"
	return Ways{
		FoldsCase: isMac || isWindows,
		FoldsNorm: isMac,
		UTF8Only:  isMac || isWindows,
		DOS:       isWindows,
		NoModes:   isWindows,
	}
}

// create makes an empty file. What has its name is a leftover of a probe, or
// was put there to be written through.
func create(dir *tree.Folder, name string) error {
	if err := dir.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := dir.Root.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	return f.Close()
}

func exists(dir *tree.Folder, name string) (bool, error) {
	_, err := dir.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

func losesModes(dir *tree.Folder, name string) (bool, error) {
	for _, mode := range []fs.FileMode{0o751, 0o604} {
		if err := dir.Chmod(name, mode); err != nil {
			return true, nil // a file system that refuses them does not keep them
		}
		fi, err := dir.Lstat(name)
		if err != nil {
			return false, err
		}
		if fi.Mode().Perm() != mode {
			return true, nil
		}
	}
	return false, nil
}

func folds(dir *tree.Folder, made, looked string) (bool, error) {
	if err := create(dir, made); err != nil {
		return false, nil // names of that kind do not exist there
	}
	defer func() { _ = dir.Remove(made) }() // likewise
	return exists(dir, looked)
}

func canMake(dir *tree.Folder, name string) bool {
	if create(dir, name) != nil {
		return false
	}
	return dir.Remove(name) == nil
}

func canLink(dir *tree.Folder, name string) bool {
	if dir.Symlink("nowhere", name) != nil {
		return false
	}
	fi, err := dir.Lstat(name)
	return dir.Remove(name) == nil && err == nil && fi.Mode().Type() == fs.ModeSymlink
}
