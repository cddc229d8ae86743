package orka

import (
	"context"
	"errors"
	"time"

	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/machine"
	"outrigger.dev/outrigger/internal/provider/orka/orkaapi"
)

// Delete implements [provider.Provider]: it returns when Orka does not have the VM any
// more. A VM that was asked for with unknown success is waited for, and then deleted.
func (p *Provider) Delete(ctx context.Context, name machine.Name) error {
	if checkName(p.name, name) != nil {
		return nil // nothing of that name can be
	}
	p.mu.Lock()
	a, began := p.asked[name]
	p.mu.Unlock()
	if began && !a.sent {
		if _, ok, err := p.load(a.vm); err == nil && !ok {
			return nil // Create came to nothing before Orka was asked
		}
	}
	d, err := p.open(ctx)
	if err != nil {
		return err
	}
	var vms []string
	if vm, ok := p.known(name); ok {
		vms = []string{vm}
	} else {
		found, err := p.named(ctx, name)
		if err != nil {
			return err
		}
		for _, vm := range found {
			vms = append(vms, vm.Name)
		}
	}
	var errs []error
	for _, vm := range vms {
		errs = append(errs, p.end(ctx, d, vm))
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.asked, name)
	return nil
}

const (
	goneFirst = 100 * time.Millisecond
	goneLast  = 2 * time.Second
	againMore = 10 * time.Second // a deletion that shows no effect is asked for again
	goneLimit = 2 * time.Minute
)

// end deletes a VM, sees it go, and removes its record.
func (p *Provider) end(ctx context.Context, d door, vm string) error {
	r, _, err := p.load(vm)
	if err != nil {
		return err
	}
	if r.Foreign {
		found, err := d.Get(ctx, vm)
		switch {
		case err == nil && p.isForeign(found):
			return nil // its record stays as long as it does
		case err != nil && !orkaapi.IsNotFound(err):
			return p.api.Fault("deletion of VM "+vm, err)
		}
	}
	start, pause := time.Now(), goneFirst
	var asked time.Time
	there := true
	for {
		if there && time.Since(asked) > againMore {
			if err := d.Delete(ctx, vm); err != nil {
				return p.api.Fault("deletion of VM "+vm, err)
			}
			asked = time.Now()
		}
		_, err := d.Get(ctx, vm)
		if err != nil && !orkaapi.IsNotFound(err) {
			return p.api.Fault("deletion of VM "+vm, err)
		}
		was := there
		there = err == nil
		if there && !was {
			asked = time.Time{} // it has appeared after all
		}
		if !there && time.Now().After(r.Unsure) {
			return p.forget(vm)
		}
		if there && time.Since(start) > goneLimit+settle {
			return fault.New(fault.ProviderDown, "%s: VM %s is still there %s after its deletion", p.name, vm, time.Since(start).Round(time.Second))
		}
		select {
		case <-ctx.Done():
			return fault.New(fault.ProviderDown, "%s: deletion of VM %s: not seen to end: %w", p.name, vm, context.Cause(ctx))
		case <-time.After(pause):
		}
		pause = min(2*pause, goneLast)
	}
}
