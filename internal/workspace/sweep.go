package workspace

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/machine"
	"outrigger.dev/outrigger/internal/rawpath"
)

// A Swept tells what [Sweep] removed.
type Swept struct {
	TempFiles  int // temporary files in people's folders
	Workspaces int // remembered folders of machines that are gone
}

// Sweep cleans up after runs that were killed and forgets the workspaces of
// machines for which known answers no. Workspaces in use are left alone.
func Sweep(ctx context.Context, state string, known func(machine.Name) bool) (Swept, error) {
	var swept Swept
	var errs []error
	machines, err := rawpath.Glob(root(state), "*")
	if err != nil {
		return swept, fault.New(fault.LocalFile, "workspace: %w", err)
	}
	var paths []string
	for _, m := range machines {
		below, err := rawpath.Glob(m, "*")
		if err != nil {
			errs = append(errs, fault.New(fault.LocalFile, "workspace: %w", err))
		}
		paths = append(paths, below...)
	}
	for _, path := range paths {
		errs = append(errs, sweepOne(ctx, path, known, &swept))
	}
	if ms, err := os.ReadDir(root(state)); err == nil {
		for _, m := range ms {
			if !known(machine.Name(m.Name())) {
				removeEmpty(filepath.Join(root(state), m.Name()))
			}
		}
	}
	return swept, errors.Join(errs...)
}

func sweepOne(ctx context.Context, path string, known func(machine.Name) bool, swept *Swept) error {
	w := &Workspace{ID: filepath.Base(path), dir: path}
	ok, err := w.tryLock()
	if errors.Is(err, fs.ErrNotExist) || err == nil && !ok {
		return nil // gone meanwhile, or in use
	}
	if err != nil {
		return err
	}
	n, err := w.clean(ctx)
	swept.TempFiles += n
	if err == nil && !known(machine.Name(filepath.Base(filepath.Dir(path)))) {
		swept.Workspaces++
		return w.Forget()
	}
	return errors.Join(err, w.lock.Unlock())
}
