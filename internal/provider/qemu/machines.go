package qemu

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/machine"
	"outrigger.dev/outrigger/internal/provider"
)

var (
	_ provider.Provider     = (*Provider)(nil)
	_ provider.ImageStore   = (*Provider)(nil)
	_ provider.ImageBuilder = (*Provider)(nil)
	_ provider.ImageSaver   = (*Provider)(nil)
	_ provider.Console      = (*Provider)(nil)
)

// Get implements [provider.Provider]. A machine whose process is gone is
// Failed, one whose guest ended itself is Stopped.
func (p *Provider) Get(ctx context.Context, name machine.Name) (machine.Machine, error) {
	r, err := p.load(name)
	if err != nil {
		return machine.Machine{}, err
	}
	return p.describe(ctx, r)
}

// List implements [provider.Provider].
func (p *Provider) List(ctx context.Context, owner machine.Owner) ([]machine.Machine, error) {
	p.sweep(ctx)
	records, err := p.records()
	if err != nil {
		return nil, err
	}
	var all []machine.Machine
	for _, r := range records {
		if r.Provider != p.name || (owner != "" && r.Owner != owner) {
			continue
		}
		m, err := p.describe(ctx, r)
		if errors.Is(err, fs.ErrNotExist) {
			continue // deleted meanwhile
		}
		if err != nil {
			return nil, err
		}
		all = append(all, m)
	}
	return all, nil
}

// records reads those of all machines, also of other providers.
func (p *Provider) records() ([]record, error) {
	names, err := entries(p.path(machinesDir))
	if err != nil {
		return nil, err
	}
	var all []record
	for _, name := range names {
		r, err := p.loadAny(machine.Name(name))
		if fault.Is(err, fault.UnknownMachine) {
			continue // deleted meanwhile
		}
		if err != nil {
			return nil, err
		}
		all = append(all, r)
	}
	return all, nil
}

// Delete implements [provider.Provider]. It returns when the process is gone.
func (p *Provider) Delete(ctx context.Context, name machine.Name) error {
	p.sweep(ctx)
	if err := p.markDeleting(ctx, name); err != nil {
		return ignoreUnknown(err)
	}
	// A client that makes the machine now has its lock. Without its guest it
	// fails, sees the mark and lets go.
	if err := p.vmOf(name).stopIfThere(ctx); err != nil {
		return err
	}
	l, err := acquire(ctx, filepath.Join(p.machineDir(name), lockFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer l.release()
	// Who made the machine may have ended it on seeing the mark, and have made
	// another since, which this deletion is not about.
	if r, err := p.load(name); err != nil || r.Phase != deleting {
		return ignoreUnknown(err)
	}
	if err := p.end(ctx, name); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil // another deletion was faster
}

// end is the rest of a deletion. The machine's lock must be held.
func (p *Provider) end(ctx context.Context, name machine.Name) error {
	if err := p.vmOf(name).stop(ctx); err != nil {
		return err
	}
	return p.remove(ctx, name)
}

// markDeleting is where a machine's end begins: from here on nobody starts it.
func (p *Provider) markDeleting(ctx context.Context, name machine.Name) error {
	if _, err := p.load(name); err != nil {
		return err
	}
	l, err := p.hold(ctx)
	if err != nil {
		return err
	}
	defer l.release()
	r, err := p.load(name)
	if err != nil {
		return err
	}
	r.Phase = deleting
	err = p.store(r)
	if errors.Is(err, fs.ErrNotExist) { // another deletion took the folder away meanwhile
		return fault.New(fault.UnknownMachine, "%s: machine %s: is gone", p.name, name)
	}
	return err
}

// remove takes the name away at once, and then the files: a folder that is half
// removed would be a machine without a record.
func (p *Provider) remove(ctx context.Context, name machine.Name) error {
	maker, err := acquire(ctx, filepath.Join(p.machineDir(name), makerFile))
	if err != nil {
		return err
	}
	defer maker.release()
	gone := p.path(newPrefix + randomName())
	if err := os.Rename(p.machineDir(name), gone); err != nil {
		return localFile(err)
	}
	return localFile(os.RemoveAll(gone))
}

func ignoreUnknown(err error) error {
	if fault.Is(err, fault.UnknownMachine) {
		return nil
	}
	return err
}

// ConsoleTail implements [provider.Console].
func (p *Provider) ConsoleTail(ctx context.Context, name machine.Name, most int) (string, error) {
	if _, err := p.load(name); err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(ctx, askState)
	defer cancel()
	return p.vmOf(name).consoleTail(ctx, most)
}
