package home

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"outrigger.dev/outrigger/internal/agent/disk"
	"outrigger.dev/outrigger/internal/agent/link"
	"outrigger.dev/outrigger/internal/rawpath"
)

// Restore makes the home what it was when it was recorded, and returns what could not be put right.
func (h Home) Restore(ctx context.Context, digest []byte) (left []disk.Left) {
	rec, err := h.load(digest)
	if err != nil {
		return []disk.Left{{Path: h.File, Why: err.Error()}}
	}
	if h.Sole {
		left = append(left, endTasks(ctx, rec.Tasks)...)
	}
	was := map[string]entry{}
	for _, f := range rec.Files {
		was[string(f.Path)] = f.entry
	}
	left = append(left, h.restoreFiles(ctx, was)...)
	left = append(left, restoreCrontab(ctx, rec.Cron)...)
	left = append(left, removeJobs(ctx, rec.Jobs)...)
	if h.Sole {
		left = append(left, removeSegments(rec.IPC)...)
		for _, name := range h.temporary() {
			if slices.Contains(rec.Temp, rawpath.Path(name)) {
				continue
			}
			if err := link.RemoveTree(ctx, name); err != nil {
				left = append(left, disk.Left{Path: name, Why: err.Error()})
			}
		}
	}
	return left
}

func (h Home) restoreFiles(ctx context.Context, was map[string]entry) (left []disk.Left) {
	now, err := h.scan(true)
	if err != nil {
		return []disk.Left{{Path: h.Dir, Why: err.Error()}}
	}
	failed := func(name string, err error) {
		if err != nil {
			left = append(left, disk.Left{Path: filepath.Join(h.Dir, filepath.FromSlash(name)), Why: err.Error()})
		}
	}
	// What is new goes first, from the inside out; then what was comes back, folders before what is in them.
	for _, name := range slices.Backward(slices.Sorted(maps.Keys(now))) {
		old, there := was[name]
		if name == keysFile && now[name].Mode.IsRegular() || there && old.Mode.Type() == now[name].Mode.Type() {
			continue
		}
		if _, keys := now[keysFile]; name == path.Dir(keysFile) && keys {
			continue
		}
		if !there && now[name].Mode.IsDir() && !place(name) {
			continue // a folder above a place may hold what is not looked after
		}
		failed(name, h.remove(ctx, name))
	}
	for _, name := range slices.Sorted(maps.Keys(was)) {
		if e, there := now[name]; !there || !e.same(was[name]) {
			failed(name, h.put(ctx, name, was[name]))
		}
	}
	if _, there := was[keysFile]; !there {
		failed(keysFile, h.put(ctx, keysFile, entry{Mode: 0o600}))
	}
	return left
}

// place tells whether name is a place that is looked after, or in one.
func place(name string) bool {
	parts := strings.Split(name, "/")
	return slices.ContainsFunc(places, func(pattern string) bool {
		n := strings.Count(pattern, "/") + 1
		if len(parts) < n {
			return false
		}
		ok, err := path.Match(pattern, strings.Join(parts[:n], "/"))
		return err == nil && ok
	})
}

func (h Home) remove(ctx context.Context, name string) error {
	return link.RemoveTree(ctx, filepath.Join(h.Dir, filepath.FromSlash(name)))
}

// put makes name what e says.
func (h Home) put(ctx context.Context, name string, e entry) error {
	full := filepath.Join(h.Dir, filepath.FromSlash(name))
	switch {
	case e.Mode.IsDir():
		if err := os.Mkdir(full, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		return os.Chmod(full, e.Mode.Perm())
	case e.Mode&fs.ModeSymlink != 0:
		if err := h.remove(ctx, name); err != nil {
			return err
		}
		return os.Symlink(string(e.Link), full)
	case !e.Mode.IsRegular():
		return nil // a socket or pipe is of a process that has ended
	case e.Sum != nil:
		return errors.New("was changed, and is too large to have been kept")
	}
	data := e.Data
	if name == keysFile {
		var err error
		if data, err = keys(full, e.Data); err != nil || data == nil {
			return err
		}
	}
	aside := full + ".outrigger-new"
	if err := h.remove(ctx, name+".outrigger-new"); err != nil {
		return err
	}
	if err := os.WriteFile(aside, data, 0o600); err != nil {
		return err
	}
	return errors.Join(os.Chmod(aside, e.Mode.Perm()), os.Rename(aside, full))
}

// keys returns the list of keys as it was, with the lines of ours that it has now; nil if it is there no more and none was.
func keys(full string, was []byte) ([]byte, error) {
	now, err := os.ReadFile(full)
	if absent(err) {
		now = nil
		if was == nil {
			return nil, nil
		}
	} else if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	for line := range bytes.Lines(was) {
		if !bytes.Contains(line, []byte(ours)) {
			b.Write(line)
		}
	}
	for line := range bytes.Lines(now) {
		if bytes.Contains(line, []byte(ours)) {
			b.Write(append(bytes.TrimRight(line, "\n"), '\n'))
		}
	}
	return append([]byte{}, b.Bytes()...), nil
}

// contents reads what is kept of a file: all of it, or a digest if that is more than most.
func contents(f *os.File, most int) (data, sum []byte, err error) {
	head, err := io.ReadAll(io.LimitReader(f, int64(most)+1))
	if err != nil || len(head) <= most {
		return head, nil, err
	}
	h := sha256.New()
	h.Write(head)
	n, err := io.Copy(h, io.LimitReader(f, maxRead-int64(len(head))))
	if int64(len(head))+n == maxRead && err == nil {
		var info fs.FileInfo
		if info, err = f.Stat(); err == nil {
			fmt.Fprintf(h, " of %d bytes", info.Size())
		}
	}
	return nil, h.Sum(nil), err
}

func isNotDir(err error) bool { return errors.Is(err, syscall.ENOTDIR) }
