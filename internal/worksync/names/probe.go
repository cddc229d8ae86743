package names

import (
	"errors"
	"io/fs"
	"os"
	"runtime"

	"outrigger.dev/outrigger/internal/worksync/tree"
)

// Probe tries out how dir treats names, by making files whose names begin with
// prefix, and leaves none behind.
func Probe(dir *tree.Folder, prefix string) (Ways, error) {
	isWindows := runtime.GOOS == "windows" // where Go turns bytes that are not UTF-8 into something else
	w := Ways{DOS: isWindows, NoModes: isWindows, UTF8Only: isWindows}
	base := prefix + "probe"
	if err := create(dir, base); err != nil {
		return w, err
	}
	defer dir.Remove(base) // a leftover is swept with the other temporary files
	var err error
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
	w.UTF8Only = w.UTF8Only || !canMake(dir, prefix+"\xff")
	w.DOS = w.DOS || !canMake(dir, prefix+"a?b")
	w.NoLinks = !canLink(dir, prefix+"link")
	return w, nil
}

func create(dir *tree.Folder, name string) error {
	f, err := dir.Root.OpenFile(name, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
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
	defer dir.Remove(made)
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
