//go:build unix

package transfer_test

import (
	"fmt"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
)

// linkAndOwn gives some files a second name, here or outside of the folder, and other owners where that can be done.
func (f *forest) linkAndOwn(root string) {
	files := slices.DeleteFunc(f.paths(root), func(p string) bool {
		fi, err := os.Lstat(filepath.Join(root, p))
		return err != nil || !fi.Mode().IsRegular()
	})
	if len(files) == 0 {
		return
	}
	pick := func() string { return filepath.Join(root, files[f.r.IntN(len(files))]) }
	if f.r.IntN(2) == 0 {
		_ = os.Link(pick(), filepath.Join(root, "twin-"+fmt.Sprint(f.round))) // there may be one
	}
	if root == f.near && f.r.IntN(2) == 0 {
		must(f.t, os.RemoveAll(f.twin))
		must(f.t, os.Link(pick(), f.twin))
	}
	if os.Geteuid() == 0 {
		must(f.t, os.Lchown(pick(), 1000+f.r.IntN(3), 1000+f.r.IntN(3)))
	}
}

// paths are those that edits may touch.
func (f *forest) paths(root string) []string {
	return slices.DeleteFunc(slices.Sorted(maps.Keys(f.see(root))), resting)
}

// shut takes from the user some rights at some files and folders.
func (f *forest) shut(root string) {
	if os.Geteuid() == 0 {
		return
	}
	paths := f.paths(root)
	for range min(len(paths), f.r.IntN(4)) {
		p := filepath.Join(root, paths[f.r.IntN(len(paths))])
		fi, err := os.Lstat(p)
		switch {
		case err != nil: // in a folder that is shut by now
		case fi.Mode().IsRegular():
			must(f.t, os.Chmod(p, []os.FileMode{0, 0o200, 0o111}[f.r.IntN(3)]))
		case fi.IsDir():
			must(f.t, os.Chmod(p, []os.FileMode{0, 0o300, 0o500, 0o600}[f.r.IntN(4)]))
		}
	}
}

// shutIn tells what its owner cannot read. Of a folder that cannot be entered the names can be read, and nothing of what
// they name.
func shutIn(w world) map[string]bool {
	closed := map[string]bool{}
	if os.Geteuid() == 0 {
		return closed
	}
	for p, m := range w {
		if m.kind != "link" && m.mode&0o400 == 0 || w[path.Dir(p)].kind == "dir" && w[path.Dir(p)].mode&0o100 == 0 {
			closed[p] = true
		}
	}
	return closed
}

// open gives all rights back to the user.
func (f *forest) open(root string) {
	err := filepath.WalkDir(root, func(p string, d os.DirEntry, err error) error {
		fi, serr := os.Lstat(p)
		if serr != nil {
			return serr
		}
		want := fi.Mode().Perm() | 0o600
		if fi.IsDir() {
			want |= 0o700
		}
		if fi.Mode()&os.ModeSymlink != 0 || want == fi.Mode().Perm() {
			return err
		}
		if cerr := os.Chmod(p, want); cerr != nil {
			return cerr
		}
		if err != nil && fi.IsDir() { // it could not be read before
			f.open(p)
			return filepath.SkipDir
		}
		return nil
	})
	must(f.t, err)
}

// see is look, also at what cannot be read: its modes are as they were after it.
func (f *forest) see(root string) world {
	f.t.Helper()
	if os.Geteuid() == 0 {
		return look(f.t, root)
	}
	w := world{}
	f.seeIn(root, "", w)
	return w
}

func (f *forest) seeIn(root, rel string, w world) {
	dir := filepath.Join(root, rel)
	defer lend(f.t, dir, 0o700)()
	entries, err := os.ReadDir(dir)
	must(f.t, err)
	for _, e := range entries {
		p := filepath.Join(rel, e.Name())
		full := filepath.Join(root, p)
		fi, err := os.Lstat(full)
		must(f.t, err)
		switch {
		case fi.Mode()&os.ModeSymlink != 0:
			target, err := os.Readlink(full)
			must(f.t, err)
			w[p] = thing{kind: "link", body: target}
		case fi.IsDir():
			w[p] = thing{kind: "dir", mode: fi.Mode().Perm()}
			f.seeIn(root, p, w)
		default:
			back := lend(f.t, full, 0o600)
			b, err := os.ReadFile(full)
			back()
			must(f.t, err)
			w[p] = thing{kind: "file", body: string(b), mode: fi.Mode().Perm(), mtime: fi.ModTime().UnixNano()}
		}
	}
}

// lend gives rights at a path until the returned function is called.
func lend(t *testing.T, p string, rights os.FileMode) (back func()) {
	t.Helper()
	fi, err := os.Lstat(p)
	must(t, err)
	mode := fi.Mode().Perm()
	if mode&rights == rights {
		return func() {}
	}
	must(t, os.Chmod(p, mode|rights))
	return func() { must(t, os.Chmod(p, mode)) }
}

// linked lists the files that have several names on a side.
func (f *forest) linked() map[string]bool {
	all := map[string]bool{}
	for _, root := range []string{f.near, f.far} {
		err := filepath.WalkDir(root, func(p string, d os.DirEntry, err error) error {
			if err != nil || !d.Type().IsRegular() {
				return err
			}
			if fi, err := d.Info(); err == nil && fi.Sys().(*syscall.Stat_t).Nlink > 1 {
				rel, err := filepath.Rel(root, p)
				must(f.t, err)
				all[rel] = true
			}
			return nil
		})
		must(f.t, err)
	}
	return all
}

// owners lists who owns what.
func (f *forest) owners(root string) map[string]int {
	all := map[string]int{}
	if os.Geteuid() != 0 {
		return all
	}
	for p := range f.see(root) {
		fi, err := os.Lstat(filepath.Join(root, p))
		must(f.t, err)
		all[p] = int(fi.Sys().(*syscall.Stat_t).Uid)
	}
	return all
}
