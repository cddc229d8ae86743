// Package workspace keeps, on this computer, what is remembered of a folder
// that is synced to a machine: the near side's baseline, and, while a run
// writes to the folder, the mark by which its temporary files are known.
//
//	<state>/workspaces/<machine>/<id>/lock      held while a run uses it
//	                                 /running   folder and mark; there while files may be written
//	                                 /sync/     the baseline
//
// A run that was killed leaves its lock free and its "running" in place; the
// next [Open] or [Sweep] then removes the temporary files from the folder.
package workspace

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/gofrs/flock"

	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/machine"
	"outrigger.dev/outrigger/internal/rawpath"
	"outrigger.dev/outrigger/internal/worksync/transfer"
)

// A Workspace is one folder on one machine, in this process's hands.
type Workspace struct {
	ID      string // also the folder's name on a machine that has several
	TempTag string // marks temporary files
	dir     string
	lock    *flock.Flock
}

// running is what a killed run leaves to be known by.
type running struct {
	Dir     rawpath.Path `json:"dir"`
	TempTag string       `json:"tempTag"`
}

// ID names the workspace of folder dir, shown as at, on a machine.
func ID(m machine.Name, dir, at string) string {
	sum := sha256.Sum256([]byte(string(m) + "\x00" + dir + "\x00" + at))
	return "w-" + hex.EncodeToString(sum[:8])
}

// Open takes the workspace of dir on m. Two runs cannot use one at once: the
// second gets a fault of kind Busy. dir may be "": then nothing is synced.
func Open(ctx context.Context, state string, m machine.Name, dir, at string) (*Workspace, error) {
	id := ID(m, dir, at)
	w := &Workspace{ID: id, TempTag: id, dir: filepath.Join(root(state), string(m), id)}
	if err := os.MkdirAll(w.dir, 0o700); err != nil {
		return nil, fault.New(fault.LocalFile, "workspace: %w", err)
	}
	ok, err := w.tryLock()
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, fault.New(fault.Busy, "workspace: %s: another run uses this folder on machine %s", dir, m)
	}
	if err := w.begin(ctx, dir); err != nil {
		return nil, errors.Join(err, w.lock.Unlock())
	}
	return w, nil
}

// Folders are the names that folders synced to m have there, below the lease's work folder: of runs on a
// machine that was there before them.
func Folders(state string, m machine.Name) ([]string, error) {
	paths, err := rawpath.Glob(filepath.Join(root(state), string(m)), "*")
	if err != nil {
		return nil, fault.New(fault.LocalFile, "workspace: %w", err)
	}
	for i := range paths {
		paths[i] = filepath.Base(paths[i])
	}
	return paths, nil
}

func root(state string) string { return filepath.Join(state, "workspaces") }

// StateDir is where the near side's baseline is kept.
func (w *Workspace) StateDir() string { return filepath.Join(w.dir, "sync") }

// Close lets go of the workspace, which remembers for the next time.
func (w *Workspace) Close() error {
	err := os.Remove(w.mark())
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return errors.Join(err, w.lock.Unlock())
}

// Forget lets go of the workspace and of all that it remembers, for a machine
// that will not come back.
func (w *Workspace) Forget() error {
	// The lock goes last and is still held: nobody can take half a workspace.
	err := os.RemoveAll(w.dir)
	err = errors.Join(err, w.lock.Unlock())
	removeEmpty(filepath.Dir(w.dir))
	return err
}

func (w *Workspace) mark() string { return filepath.Join(w.dir, "running") }

func (w *Workspace) tryLock() (bool, error) {
	w.lock = flock.New(filepath.Join(w.dir, "lock"), flock.SetPermissions(0o600))
	ok, err := w.lock.TryLock()
	if err != nil {
		return false, fault.New(fault.LocalFile, "workspace: %w", err)
	}
	return ok, nil
}

// begin cleans up after a run that was killed, then says what this one will write.
func (w *Workspace) begin(ctx context.Context, dir string) error {
	if _, err := w.clean(ctx); err != nil {
		return err
	}
	if dir == "" {
		return nil
	}
	b, err := json.Marshal(running{Dir: rawpath.Path(dir), TempTag: w.TempTag})
	if err != nil {
		return fault.New(fault.Internal, "workspace: %w", err)
	}
	if err := os.WriteFile(w.mark(), b, 0o600); err != nil {
		return fault.New(fault.LocalFile, "workspace: %w", err)
	}
	return nil
}

// clean removes the temporary files of a run that was killed and returns how many.
func (w *Workspace) clean(ctx context.Context) (int, error) {
	b, err := os.ReadFile(w.mark())
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fault.New(fault.LocalFile, "workspace: %w", err)
	}
	var r running
	removed := 0
	// A mark that was cut short was never followed by a file.
	if json.Unmarshal(b, &r) == nil && r.Dir != "" {
		removed, err = transfer.CleanTemp(ctx, string(r.Dir), r.TempTag)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return removed, err
		}
	}
	if err := os.Remove(w.mark()); err != nil {
		return removed, fault.New(fault.LocalFile, "workspace: %w", err)
	}
	return removed, nil
}

// removeEmpty removes dir if nothing is in it.
func removeEmpty(dir string) {
	_ = os.Remove(dir) // it refuses when something is in it, which is meant
}
