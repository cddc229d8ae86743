// Package sshhost lends out computers that exist already: a Mac mini on a
// shelf, a Linux box. A machine is a slot of a host, held by a lease that the
// agent keeps on the host itself, with an owner and an expiry; so two clients
// never share a slot, and what a dead client held comes free by itself.
//
// Nothing that counts is remembered here: a question goes to the hosts, all at once, or to
// the one that is known to have the machine. Slots are counted per login, since the agent's folder
// is the user's own.
package sshhost

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/machine"
	"outrigger.dev/outrigger/internal/provider"
	"outrigger.dev/outrigger/internal/reach"
	"outrigger.dev/outrigger/internal/reach/deliver"
	"outrigger.dev/outrigger/internal/wire"
)

// A Provider lends slots of hosts.
type Provider struct {
	name   string
	hosts  []host
	agents deliver.Source
	reach  reach.Options
	log    *slog.Logger
	gate   gate
	memory *memory
	learn  func(ctx context.Context, address string) error // see [Config.Learn]
}

var (
	_ provider.Provider = (*Provider)(nil)
	_ provider.Reminded = (*Provider)(nil)
)

// New checks cfg and returns the provider called name. It contacts nobody.
func New(name string, cfg Config, agents deliver.Source, log *slog.Logger) (*Provider, error) {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	hosts, err := cfg.hosts()
	if err != nil {
		return nil, err
	}
	return &Provider{
		name: name, hosts: hosts, agents: agents, reach: reach.Options{Log: log, DialContext: cfg.Dial}, log: log,
		gate: newGate(hosts), memory: newMemory(), learn: cfg.Learn,
	}, nil
}

// maxLife is for machines that never expire: a lease always does, and the
// agent allows no longer one. Whoever uses the machine renews it.
const maxLife = 30 * 24 * time.Hour

// Create implements [provider.Provider]: it takes a free slot, on the host that
// has most of them.
func (p *Provider) Create(ctx context.Context, spec machine.Spec) (machine.Machine, error) {
	if spec.Image != "" {
		return machine.Machine{}, fault.New(fault.UnknownImage, "%s: image %q: hosts are as they are", p.name, spec.Image)
	}
	if _, err := machine.ParseName(string(spec.Name)); err != nil {
		return machine.Machine{}, fault.New(fault.ProviderRefused, "%s: %w", p.name, err)
	}
	visits := p.visitAll(ctx, func(v *visit) bool { return v.room() > 0 || v.has(spec.Name) })
	defer visits.close()
	if v, l, ok := visits.find(spec.Name); ok {
		if l.Owner != string(spec.Owner) {
			return machine.Machine{}, fault.New(fault.NameTaken, "%s: machine %s: belongs to another owner", p.name, spec.Name)
		}
		if !l.Releasing {
			p.memory.live(spec.Name, v.host.name)
			return p.describe(v, l), nil
		}
	}
	req := wire.LeaseAcquire{Name: string(spec.Name), Owner: string(spec.Owner), Expires: spec.Expires, Note: note(spec)}
	if req.Expires.IsZero() {
		req.Expires = time.Now().Add(maxLife)
	}
	p.memory.ask(spec.Name, "")
	for _, v := range visits.byRoom() {
		p.memory.ask(spec.Name, v.host.name)
		l, err := v.acquire(ctx, p, req)
		if err == nil {
			p.memory.live(spec.Name, v.host.name)
			p.log.Debug("slot taken", "machine", spec.Name, "host", v.host.name)
			return p.describe(v, l), nil
		}
		v.err = fmt.Errorf("host %s: %w", v.host.name, err)
	}
	if ctx.Err() != nil {
		return machine.Machine{}, fault.New(fault.Unreachable, "%s: machine %s: gave up: %w", p.name, spec.Name, context.Cause(ctx))
	}
	return machine.Machine{}, visits.noRoom(p.name)
}

// Remind implements [provider.Reminded]: of all hosts only the one at that address has the machine.
func (p *Provider) Remind(name machine.Name, at machine.Endpoint) {
	for _, h := range p.hosts {
		if h.endpoint.Address() == at.Address() {
			p.memory.live(name, h.name)
			return
		}
	}
	// The host is not among ours any more, or by another address: anyone may be it.
}

// note tells people who holds a slot.
func note(spec machine.Spec) string {
	if by := spec.Labels["by"]; by != "" {
		return by
	}
	return "owner " + string(spec.Owner)
}

// Get implements [provider.Provider].
func (p *Provider) Get(ctx context.Context, name machine.Name) (machine.Machine, error) {
	visits := p.visitSome(ctx, func(host string) bool { return p.memory.mayBe(name, host) },
		func(v *visit) bool { return v.has(name) })
	defer visits.close()
	if v, l, ok := visits.find(name); ok {
		p.memory.live(name, v.host.name)
		return p.describe(v, l), nil
	}
	if err := visits.err(); err != nil {
		return machine.Machine{}, err // it may be there
	}
	return machine.Machine{}, fault.New(fault.UnknownMachine, "%s: no machine %s on any host", p.name, name)
}

// List implements [provider.Provider]. The machines of hosts that answer are returned even when others do not;
// the error is then a [provider.PartialError] that names those.
func (p *Provider) List(ctx context.Context, owner machine.Owner) ([]machine.Machine, error) {
	visits := p.visitAll(ctx, func(*visit) bool { return false })
	defer visits.close()
	var all []machine.Machine
	seen := map[string]bool{}
	for _, v := range visits {
		for _, l := range v.leases {
			if seen[l.Name] || owner != "" && l.Owner != string(owner) {
				continue
			}
			seen[l.Name] = true
			all = append(all, p.describe(v, l))
		}
	}
	if err := visits.err(); err != nil {
		return all, &provider.PartialError{Unseen: visits.unseen(), Err: err}
	}
	return all, nil
}

// Delete implements [provider.Provider]: it gives the slot back, and ends what
// was run in it. When the machine is nowhere to be found and a host does not
// answer, that is an error: the machine may be there.
func (p *Provider) Delete(ctx context.Context, name machine.Name) error {
	if _, err := machine.ParseName(string(name)); err != nil {
		return nil // nothing of that name can be
	}
	visits := p.visitSome(ctx, func(host string) bool { return p.memory.mayHold(name, host) },
		func(v *visit) bool { return v.has(name) })
	defer visits.close()
	found := false
	var errs []error
	for _, v := range visits {
		if _, ok := v.lease(name); !ok {
			continue
		}
		found = true
		if err := v.release(ctx, p, name); err != nil {
			errs = append(errs, fmt.Errorf("host %s: %w", v.host.name, err))
		}
	}
	err := errors.Join(errs...)
	if !found {
		err = visits.err()
	}
	if err == nil {
		p.memory.forget(name, found)
	}
	return err
}

// describe tells of a lease what the seam wants to know.
func (p *Provider) describe(v *visit, l wire.Lease) machine.Machine {
	m := machine.Machine{
		Name:     machine.Name(l.Name),
		Provider: p.name,
		Owner:    machine.Owner(l.Owner),
		State:    machine.Running,
		Platform: v.platform,
		Created:  l.Created,
		Expires:  l.Expires,
		Labels:   v.host.labels,
		Endpoint: v.host.endpoint,
	}
	if l.Releasing {
		m.State = machine.Deleting
	}
	return m
}
