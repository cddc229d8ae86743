package orka

import (
	"context"
	"errors"
	"fmt"
	"time"

	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/machine"
	"outrigger.dev/outrigger/internal/provider/orka/orkaapi"
)

const (
	// settle is how long after a request of unknown fate its VM may yet appear: a guess,
	// longer than a server that restarts needs to drop what it had accepted.
	settle = 10 * time.Second
	// vanishings is how often a VM may vanish while it is made, as when somebody deletes
	// it, before we give up.
	vanishings = 5
	// cleanLimit bounds the deletion of a VM that there is no room for.
	cleanLimit = 30 * time.Second
)

// Create implements [provider.Provider]. It returns when SSH answers and the VM's host
// key is pinned. A VM that there is no room for is deleted before it returns.
func (p *Provider) Create(ctx context.Context, spec machine.Spec) (machine.Machine, error) {
	if err := checkName(p.name, spec.Name); err != nil {
		return machine.Machine{}, err
	}
	order := p.order(spec)
	p.note(spec.Name, func(a *asking) { a.vm = order.Name })
	for range vanishings {
		d, err := p.open(ctx)
		if err != nil {
			return machine.Machine{}, err
		}
		m, err := p.create(ctx, d, spec, order)
		if !errors.Is(err, errVanished) {
			return m, err
		}
		p.log.Info("VM vanished while it was made", "machine", spec.Name, "vm", order.Name)
	}
	return machine.Machine{}, fault.New(fault.ProviderDown, "%s: machine %s: somebody deletes its VM %s, %d times so far", p.name, spec.Name, order.Name, vanishings)
}

func (p *Provider) note(name machine.Name, f func(*asking)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	a := p.asked[name]
	f(&a)
	p.asked[name] = a
}

// create finds the VM or asks for it, and sees it through.
func (p *Provider) create(ctx context.Context, d door, spec machine.Spec, order orkaapi.Deploy) (machine.Machine, error) {
	there, err := p.find(ctx, d, spec, order.Name)
	if err != nil {
		return machine.Machine{}, err
	}
	if err := p.begin(spec, order, there); err != nil {
		return machine.Machine{}, err
	}
	a := p.attempt(d, spec, order)
	a.ours = there
	if !there {
		if err := a.ask(ctx); err != nil {
			return machine.Machine{}, err
		}
	}
	defer a.settlePost()
	a.f = follow(ctx, d, order.Name)
	defer a.f.stop()
	if err := a.awaitRunning(ctx); err != nil {
		return machine.Machine{}, a.ending(ctx, err)
	}
	m, err := a.contact(ctx)
	if err != nil {
		return machine.Machine{}, a.ending(ctx, err)
	}
	return m, nil
}

func (p *Provider) attempt(d door, spec machine.Spec, order orkaapi.Deploy) *attempt {
	return &attempt{p: p, d: d, spec: spec, order: order, start: time.Now()}
}

// find tells whether the machine's VM is there already. One that is on its way out, or has
// failed, is ended first.
func (p *Provider) find(ctx context.Context, d door, spec machine.Spec, name string) (bool, error) {
	all, err := d.List(ctx)
	if err != nil {
		return false, p.api.Fault("list of VMs", err)
	}
	there := false
	for _, vm := range all {
		n, ours := nameOf(vm.Name)
		switch {
		case !ours || n != spec.Name:
		case vm.Name != name:
			return false, fault.New(fault.NameTaken, "%s: machine %s: belongs to another owner, as VM %s", p.name, spec.Name, vm.Name)
		case p.isForeign(vm):
			return false, p.foreign(spec.Name, vm.Name)
		case vm.Deleting || vm.Phase == orkaapi.Failed:
			if err := p.end(ctx, d, name); err != nil {
				return false, err
			}
		default:
			there = true
		}
	}
	return there, nil
}

// isForeign tells whether a VM that bears our mark was found to be somebody else's.
func (p *Provider) isForeign(vm orkaapi.VM) bool {
	r, _, err := p.load(vm.Name)
	return err == nil && r.Foreign && r.Made.Equal(vm.Created)
}

// begin writes the record. Of a VM that is there, the first word counts.
func (p *Provider) begin(spec machine.Spec, order orkaapi.Deploy, there bool) error {
	p.files.Lock()
	defer p.files.Unlock()
	old, ok, err := p.load(order.Name)
	if err != nil || ok && there {
		return err
	}
	r := record{VM: order.Name, Name: spec.Name, Owner: spec.Owner, Image: order.Image, Expires: spec.Expires, Labels: spec.Labels, Asked: time.Now().UTC(), Unsure: old.Unsure}
	if !there {
		r.Unsure = time.Now().Add(settle).UTC()
	}
	return p.store(r)
}

// ending deletes a VM that there is no room for, and puts a context's end into words.
func (a *attempt) ending(ctx context.Context, err error) error {
	var f *fault.Error
	switch {
	case err == nil || errors.Is(err, errVanished):
		return err
	case ctx.Err() != nil && !errors.As(err, &f):
		return fault.New(fault.ProviderDown, "%s: machine %s: gave up: %w", a.p.name, a.spec.Name, context.Cause(ctx))
	case !fault.Is(err, fault.NoCapacity):
		return err
	}
	a.settlePost()
	clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanLimit) // what is left behind would run later, for nobody
	defer cancel()
	if e := a.p.end(clean, a.d, a.order.Name); e != nil {
		return fault.New(fault.NoCapacity, "%w; and deleting it: %v", err, e)
	}
	return err
}

// full is the fault of a VM that there is no room for.
func (a *attempt) full(words string) error {
	if words == "" {
		words = "Orka leaves it Pending"
	}
	return fault.New(fault.NoCapacity, "%s: no room for a VM: %s", a.p.name, words).
		WithRemedy("Wait until a VM ends, or give the namespace more nodes: orka3 node list shows what they have left.")
}

// mistake is the fault of a deploy that was refused: Orka's own words, unless its image or the
// room turn out to be the reason.
func (a *attempt) mistake(ctx context.Context, code int, err error) error {
	if code != 401 {
		if unknown := a.p.imageUnknown(ctx, a.order, code, err); unknown != nil {
			return unknown
		}
		if r := a.p.roomNow(ctx, a.d, a.order); code != 403 && r.known && !r.some {
			return a.full(fmt.Sprintf("%s (%v)", r.words, err))
		}
	}
	return a.p.api.Fault("machine "+string(a.spec.Name), err)
}

// imageUnknown is the fault of an image that Orka does not have, or nil. A name with a slash is
// in a registry, where only Orka's own words can tell; but the namespace was listed just
// now, so that a 404 is about the image.
func (p *Provider) imageUnknown(ctx context.Context, order orkaapi.Deploy, code int, err error) error {
	what, known, asked := p.api.HasImage(ctx, order)
	if code != 404 && (!asked || known) {
		return nil
	}
	return fault.New(fault.UnknownImage, "%s: %s: %w", p.name, what, err)
}

// roomNow asks the nodes what they have left. A token that may not ask learns nothing.
func (p *Provider) roomNow(ctx context.Context, d door, order orkaapi.Deploy) room {
	limit, cancel := context.WithTimeout(ctx, askNodes)
	defer cancel()
	nodes, err := p.api.Nodes(limit, p.cfg.Namespace)
	var vms []orkaapi.VM
	if err == nil {
		vms, err = d.List(limit)
	}
	if err != nil {
		p.log.Debug("nodes", "provider", p.name, "error", err)
		return room{}
	}
	tag := ""
	if order.TagRequired {
		tag = order.Tag
	}
	return roomFor(nodes, vms, p.cfg.Namespace, need{order.CPU, order.Node, tag, p.cfg.Arch == "arm64"})
}
