//go:build linux || darwin

package local

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"outrigger.dev/outrigger/internal/agent/disk"
	"outrigger.dev/outrigger/internal/agent/lease"
	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/machine"
	"outrigger.dev/outrigger/internal/wire"
)

// gone marks folders that are being removed. It is no machine's name.
const gone = ".gone-"

// Delete implements [provider.Provider]. It ends the server and everything
// that was started on the machine, wherever it went, and removes the folder.
func (p *Provider) Delete(ctx context.Context, name machine.Name) error {
	if _, err := machine.ParseName(string(name)); err != nil {
		return nil // nothing of that name can be
	}
	f, err := p.enter(ctx, name, false)
	if err != nil {
		return err
	}
	if f != nil {
		var err error
		if rec, recErr := f.record(); recErr != nil || rec.Provider == p.name { // one without a record is nobody's
			err = p.remove(ctx, f)
		}
		f.leave()
		if err != nil {
			return fault.New(fault.ProviderDown, "local: machine %s: delete: %w", name, err)
		}
	}
	return p.sweep()
}

func (p *Provider) remove(ctx context.Context, f *folder) error {
	if err := f.stop(ctx); err != nil {
		return err
	}
	if err := endMarked(ctx, f.dir); err != nil {
		return err
	}
	if err := releaseLeases(ctx, f, p.log); err != nil {
		return err
	}
	// From here on there is no such machine: the name is free at once, and
	// what a crash leaves of the removal, sweep finds.
	aside, err := os.MkdirTemp(p.dir, gone+string(f.name)+"-")
	if err != nil {
		return err
	}
	moved := &folder{name: f.name, dir: filepath.Join(aside, "folder")}
	if err := os.Rename(f.dir, moved.dir); err != nil {
		return errors.Join(err, os.Remove(aside))
	}
	// A server whose maker was killed may have come up since we looked; from now
	// on none can, since there is no folder of its name.
	if err := moved.stop(ctx); err != nil {
		return err
	}
	return removeAll(aside)
}

// releaseLeases does what the machine's agent would be asked to do: a lease may
// have made links outside of the machine's folder, and only it knows them.
func releaseLeases(ctx context.Context, f *folder, log *slog.Logger) error {
	root := filepath.Join(f.path("home"), ".outrigger")
	if real, err := filepath.EvalSymlinks(root); err == nil {
		root = real // as the agent knows it
	}
	store := lease.Open(disk.Root(root), log)
	leases, err := store.List()
	if err != nil {
		return err
	}
	for _, l := range leases.Leases {
		if _, err := store.Release(ctx, wire.LeaseRelease{Name: l.Name}); err != nil {
			return err
		}
	}
	// What a killed agent made, and had not yet written down.
	return disk.Root(root).RemoveTmp(ctx, func(string) bool { return false })
}

// stop ends the server: asks it to, which makes it end what runs on the
// machine, and kills it if that takes too long.
func (f *folder) stop(ctx context.Context) error {
	deadline := time.Now().Add(politeTime + killTime)
	sig := syscall.SIGTERM
	for asked := false; f.alive(); {
		run, err := f.running()
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if time.Now().After(deadline) {
			asked, sig = false, syscall.SIGKILL
		}
		// As long as the lock is held the number is the server's: it has not ended.
		if err == nil && !asked {
			if err := kill(run.PID, sig); err != nil {
				return err
			}
			asked = true
		}
		select {
		case <-time.After(endPoll):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

// sweep removes what earlier removals left, be it that they were killed.
func (p *Provider) sweep() error {
	entries, err := os.ReadDir(p.dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fault.New(fault.LocalFile, "local: %w", err)
	}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), gone) {
			continue
		}
		if err := removeAll(filepath.Join(p.dir, e.Name())); err != nil {
			return fault.New(fault.LocalFile, "local: %w", err)
		}
	}
	return nil
}

// removeAll removes dir with everything in it, also what is in folders that
// forbid it: module caches are read-only.
func removeAll(dir string) error {
	err := os.RemoveAll(dir)
	if !errors.Is(err, fs.ErrPermission) {
		return err
	}
	walkErr := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err == nil && e.IsDir() {
			err = os.Chmod(path, 0o700) // before it is read
		}
		if err != nil {
			return fs.SkipDir // the second try says what could not be helped
		}
		return nil
	})
	return errors.Join(walkErr, os.RemoveAll(dir))
}
