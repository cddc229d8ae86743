package qemu

import (
	"context"
	"errors"
	"io/fs"
	"path/filepath"
	"slices"
	"time"

	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/machine"
)

// Create implements [provider.Provider]. It waits until the machine's SSH
// server greets, because a guest that hangs while it boots must be started
// again, and nobody else would.
func (p *Provider) Create(ctx context.Context, spec machine.Spec) (machine.Machine, error) {
	arch, binary, err := p.emulator()
	if err != nil {
		return machine.Machine{}, err
	}
	p.sweep(ctx)
	for range createRounds {
		r, err := p.enter(ctx, spec)
		if err != nil {
			return machine.Machine{}, err
		}
		r, err = p.inhabit(ctx, r.Name, arch, binary)
		if err == nil {
			return p.describe(ctx, r)
		}
		if !errors.Is(err, errGone) {
			return machine.Machine{}, err
		}
	}
	return machine.Machine{}, fault.New(fault.ProviderDown, "%s: machine %s: %w", p.name, spec.Name, errGone)
}

// createRounds is how often a machine is made that is deleted meanwhile. One
// deletion can cost three: the guest that it ends, the mark that is found, and the
// machine made anew that it meets once it has the lock.
const createRounds = 12

var errGone = errors.New("deleted while it was made")

// inhabit makes the machine of that name run, unless it does.
func (p *Provider) inhabit(ctx context.Context, name machine.Name, arch architecture, binary string) (record, error) {
	l, err := acquire(ctx, filepath.Join(p.machineDir(name), lockFile))
	if errors.Is(err, fs.ErrNotExist) {
		return record{}, errGone
	}
	if err != nil {
		return record{}, err
	}
	defer l.release()
	// Another client may have made it, or deleted it, while this one waited.
	r, err := p.load(name)
	switch {
	case fault.Is(err, fault.UnknownMachine):
		return r, errGone
	case err != nil:
		return r, err
	case r.Phase == deleting: // by a client that died
		if err := p.end(ctx, name); err != nil {
			return r, err
		}
		return r, errGone
	case r.Phase == creating:
		return p.bring(ctx, r, arch, binary)
	}
	return r, nil
}

// enter returns the record of the machine that spec asks for, which it makes
// if there is none.
func (p *Provider) enter(ctx context.Context, spec machine.Spec) (record, error) {
	if _, err := machine.ParseName(string(spec.Name)); err != nil {
		return record{}, fault.New(fault.ProviderRefused, "qemu: %w", err)
	}
	d, err := p.draft(ctx)
	if err != nil {
		return record{}, err
	}
	r, err := p.enterAs(ctx, spec, d)
	return r, errors.Join(err, d.discard())
}

func (p *Provider) enterAs(ctx context.Context, spec machine.Spec, d draft) (record, error) {
	l, err := p.hold(ctx)
	if err != nil {
		return record{}, err
	}
	defer l.release()
	r, err := p.loadAny(spec.Name)
	if err == nil {
		return r, p.mayContinue(r, spec)
	}
	if !fault.Is(err, fault.UnknownMachine) {
		return record{}, err
	}
	if err := p.hasRoom(); err != nil {
		return record{}, err
	}
	r = record{
		Name: spec.Name, Provider: p.name, Owner: spec.Owner, Image: spec.Image, CPUs: spec.CPUs, MemoryMiB: spec.MemoryMiB,
		Created: time.Now(), Expires: spec.Expires, Labels: spec.Labels, Phase: creating,
		Listen: p.cfg.Listen,
	}
	fill(&r.Image, p.cfg.Image)
	fill(&r.CPUs, p.cfg.CPUs)
	fill(&r.MemoryMiB, p.cfg.MemoryMiB)
	if err := checkSize(r.CPUs, r.MemoryMiB); err != nil {
		return record{}, fault.New(fault.ProviderRefused, "%s: machine %s: %w", p.name, r.Name, err)
	}
	img, err := p.image(r.Image)
	if err != nil {
		return record{}, err
	}
	r.Layers, r.Disk = img.Layers, img.Disk
	if err := link(img.files(), p.path(imagesDir, img.Dir), d.dir); err != nil {
		return record{}, err
	}
	if err := writeJSON(filepath.Join(d.dir, recordFile), r); err != nil {
		return record{}, err
	}
	return r, d.publish(p.machineDir(r.Name))
}

func (p *Provider) hasRoom() error {
	all, err := p.records()
	if err != nil {
		return err
	}
	all = slices.DeleteFunc(all, func(r record) bool { return r.Provider != p.name })
	if len(all) >= p.cfg.Max {
		return fault.New(fault.NoCapacity, "%s: there are %d machines, max is %d", p.name, len(all), p.cfg.Max)
	}
	return nil
}

// mayContinue tells whether a call for spec may have the machine that exists.
func (p *Provider) mayContinue(r record, spec machine.Spec) error {
	if r.Provider != p.name {
		return fault.New(fault.NameTaken, "%s: machine %s exists at provider %s", p.name, r.Name, r.Provider)
	}
	if r.Owner != spec.Owner {
		return fault.New(fault.NameTaken, "%s: machine %s exists and belongs to %s, not to %s", p.name, r.Name, r.Owner, spec.Owner)
	}
	return nil
}
