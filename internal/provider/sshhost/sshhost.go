// Package sshhost lends out computers that exist already: a Mac mini on a
// shelf, a Linux box. A machine is a slot of a host, held by a lease that the
// agent keeps on the host itself, with an owner and an expiry; so two clients
// never share a slot, and what a dead client held comes free by itself.
//
// Nothing is remembered here: every question goes to the hosts, all at once.
// Slots are counted per login, since the agent's folder is the user's own.
package sshhost

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
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

	mu    sync.Mutex
	asked map[machine.Name]map[string]bool // see ask
	home  map[machine.Name]string          // see Remind
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
	return &Provider{name: name, hosts: hosts, agents: agents, reach: reach.Options{Log: log, DialContext: cfg.Dial}, log: log, gate: newGate(hosts)}, nil
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
			return p.describe(v, l), nil
		}
	}
	req := wire.LeaseAcquire{Name: string(spec.Name), Owner: string(spec.Owner), Expires: spec.Expires, Note: note(spec)}
	if req.Expires.IsZero() {
		req.Expires = time.Now().Add(maxLife)
	}
	p.ask(spec.Name, "")
	for _, v := range visits.byRoom() {
		p.ask(spec.Name, v.host.name)
		l, err := v.acquire(ctx, p, req)
		if err == nil {
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

// ask notes that Create asked host for a machine of that name. So a Create that
// was refused everywhere before it asked leaves nothing to delete, also where
// nobody answers.
func (p *Provider) ask(name machine.Name, host string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.asked == nil {
		p.asked = map[machine.Name]map[string]bool{}
	}
	if p.asked[name] == nil {
		p.asked[name] = map[string]bool{}
	}
	if host != "" {
		p.asked[name][host] = true
	}
}

// Remind implements [provider.Reminded]: of all hosts only the one at that address has the machine.
func (p *Provider) Remind(name machine.Name, at machine.Endpoint) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, h := range p.hosts {
		if h.endpoint.Host == at.Host && h.endpoint.Port == at.Port {
			if p.home == nil {
				p.home = map[machine.Name]string{}
			}
			p.home[name] = h.name
			return
		}
	}
	// The host is not among ours any more, or by another address: anyone may be it.
}

// forget drops what is known of a machine that is no more. That no host was asked for
// one stays known.
func (p *Provider) forget(name machine.Name, existed bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.home, name)
	if existed {
		delete(p.asked, name)
	}
}

// mayBe tells whether host may be where a machine is, unless we know better.
func (p *Provider) mayBe(name machine.Name, host string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	home, known := p.home[name]
	return !known || home == host
}

// mayHave tells whether host may have a machine of that name, for all that
// this process knows.
func (p *Provider) mayHave(name machine.Name, host string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	hosts, known := p.asked[name]
	return !known || hosts[host]
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
	visits := p.visitSome(ctx, func(host string) bool { return p.mayBe(name, host) },
		func(v *visit) bool { return v.has(name) })
	defer visits.close()
	if v, l, ok := visits.find(name); ok {
		return p.describe(v, l), nil
	}
	if err := visits.err(); err != nil {
		return machine.Machine{}, err // it may be there
	}
	return machine.Machine{}, fault.New(fault.UnknownMachine, "%s: no machine %s on any host", p.name, name)
}

// List implements [provider.Provider]. The machines of hosts that answer are
// returned even when others do not; the error then names those.
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
	return all, visits.err()
}

// Delete implements [provider.Provider]: it gives the slot back, and ends what
// was run in it. When the machine is nowhere to be found and a host does not
// answer, that is an error: the machine may be there.
func (p *Provider) Delete(ctx context.Context, name machine.Name) error {
	if _, err := machine.ParseName(string(name)); err != nil {
		return nil // nothing of that name can be
	}
	visits := p.visitSome(ctx, func(host string) bool { return p.mayBe(name, host) && p.mayHave(name, host) },
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
		p.forget(name, found)
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
