package link

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"

	"outrigger.dev/outrigger/internal/agent/disk"
	"outrigger.dev/outrigger/internal/fault"
)

// Look finds out what Plan needs to know about req, but for whether sudo
// works, which costs something and is asked only when it matters ([MaySudo]).
func Look(req Request) (Facts, error) {
	f := Facts{Power: AsUser, At: map[string]Found{}, Points: map[string]string{}, Writable: map[string]bool{}}
	if isRoot() {
		f.Power = AsRoot
	}
	var err error
	if f.Synthetic, err = synthetic(); err != nil {
		return f, err
	}
	paths := append(parents(req.Path), req.Path)
	if runtime.GOOS == "darwin" {
		paths = append(paths, prefixed(req.At, paths)...)
	}
	f.Writable["/"] = writable(native("/"))
	for _, p := range paths {
		info, err := os.Lstat(native(p))
		switch {
		case errors.Is(err, fs.ErrNotExist):
			continue
		case err != nil:
			return f, disk.Fault("path "+p, err)
		case isLink(info):
			f.At[p] = Link
			target, err := os.Readlink(native(p))
			if err != nil {
				return f, disk.Fault("path "+p, err)
			}
			f.Points[p] = target
		case info.IsDir():
			f.At[p] = Dir
		default:
			f.At[p] = Other
		}
		f.Writable[p] = writable(native(p))
	}
	return f, nil
}

// Record returns what is to be written down before steps are carried out.
func Record(req Request, steps []Step) disk.Link {
	l := disk.Link{Path: req.Path, Place: req.Path, Target: req.Target}
	for _, s := range steps {
		switch s.Op {
		case Mkdir:
			if s.Path != req.At {
				l.Made = append(l.Made, s.Path)
			}
		case Symlink, Junction:
			l.Place = s.Path
		}
	}
	return l
}

// Do carries out steps. What was done stays when a later one fails: Undo removes it.
func Do(ctx context.Context, steps []Step, power Power) error {
	for _, s := range steps {
		if err := do(ctx, s, power); err != nil {
			return disk.Fault(fmt.Sprintf("%s %s", s.Op, s.Path), err)
		}
	}
	return nil
}

// Inside makes the link path, in a folder of the lease's own, in the place of
// another link or of an empty folder.
func Inside(ctx context.Context, path, target string) error {
	if got, err := os.Readlink(path); err == nil && sameTarget(got, target) {
		return nil
	}
	if info, err := os.Lstat(path); err == nil {
		if !isLink(info) && !info.IsDir() {
			return fault.New(fault.PathTaken, "path %s: there is a file", path)
		}
		if err := os.Remove(path); err != nil {
			return fault.New(fault.PathTaken, "path %s: a folder is there: %w", path, err)
		}
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return disk.Fault("path "+path, err)
	}
	op := Symlink
	if runtime.GOOS == "windows" {
		op = Junction
	}
	return Do(ctx, []Step{{Op: op, Path: path, Target: target}}, AsUser)
}

func mkdir(dir string) error {
	err := os.Mkdir(dir, 0o755)
	if errors.Is(err, fs.ErrExist) {
		return nil // the agent's own folder on macOS; anything else was looked at before
	}
	return err
}

func unknown(s Step) error { return fault.New(fault.Internal, "step %q: not for this system", s.Op) }
