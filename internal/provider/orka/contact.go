package orka

import (
	"context"
	"encoding/json"
	"strings"
	"time"

	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/machine"
	"outrigger.dev/outrigger/internal/provider/orka/orkaapi"
	"outrigger.dev/outrigger/internal/reach"
)

// The first contact finds out whether who answers is the VM that was asked for. Orka has sent
// connections to another VM before (its release notes for 3.0.3), and nothing that its API
// says of a VM is known inside the VM but one thing: its own name, from the metadata
// service at 169.254.169.254. So:
//
//   - The VM is asked for its name. Its own proves it; another refutes it.
//   - A host key that is pinned to another VM that still exists refutes it: each VM makes its
//     own, unless the image has one (fixedHostKey).
//   - Two VMs that Orka gives the same address and port refute both.
//
// What is refuted is looked at again for a while, then it is a fault; nothing was run on
// the wrong VM but the question. Where the VM does not know its name (no Orka VM Tools in the
// image) the other two count, unless identity is "require". The host key of the first
// contact is pinned; ports that are mixed up later meet the wrong key and no login.

const (
	greetLimit = 5 * time.Second
	firstKnock = 100 * time.Millisecond
	lastKnock  = time.Second
	authGrace  = 20 * time.Second // accounts may be ready after the SSH server is
	wrongGrace = 10 * time.Second // port rules may be put right
	nameGrace  = 5 * time.Second  // the metadata service binds some seconds after boot
	askLimit   = 15 * time.Second
)

// contact waits until the VM answers, and pins its host key.
func (a *attempt) contact(ctx context.Context) (machine.Machine, error) {
	began := time.Now()
	var refused, wrong, unnamed time.Time
	var last error
	pause := firstKnock
	for {
		vm, err := a.still(ctx)
		if err != nil {
			return machine.Machine{}, err
		}
		m, err := a.p.describe(vm)
		if err != nil || len(m.Endpoint.HostKeys) > 0 {
			return m, err
		}
		if m.Endpoint.Host != "" {
			var e evidence
			if e, err = a.p.examine(ctx, a.d, vm, m.Endpoint); err == nil {
				switch v, why := identify(vm.Name, e, a.p.cfg); {
				case v == isWrong:
					err = a.mixedUp(m.Endpoint, why)
					if over(&wrong, wrongGrace) {
						return machine.Machine{}, err
					}
				case v == isUnproven && (a.p.cfg.Identity == IdentityRequire || e.mac && !over(&unnamed, nameGrace)):
					err = fault.New(fault.BootTimeout, "%s: machine %s: VM %s does not prove who it is: its metadata service does not answer", a.p.name, a.spec.Name, vm.Name).
						WithRemedy("Install the Orka VM Tools in the image, or set identity: auto.")
				default:
					if v == isUnproven {
						a.p.hush(vm.Image)
						a.p.log.Info("VM does not know its own name; its host key is new", "machine", a.spec.Name, "vm", vm.Name, "image", vm.Image)
					}
					return a.pin(vm, e.key)
				}
			}
			if fault.Is(err, fault.AuthRefused) && over(&refused, authGrace) {
				return machine.Machine{}, err
			}
			last = err
		}
		if time.Since(began) > a.p.cfg.BootTimeout {
			return machine.Machine{}, fault.New(fault.BootTimeout, "%s: machine %s: VM %s runs, but was not reached at %s within %s: %w",
				a.p.name, a.spec.Name, vm.Name, m.Endpoint.Address(), a.p.cfg.BootTimeout, last)
		}
		select {
		case <-ctx.Done():
			return machine.Machine{}, gaveUp(ctx, a, last)
		case <-time.After(pause):
		}
		pause = min(pause+pause/4, lastKnock)
	}
}

// over tells whether limit has passed since it was first asked.
func over(since *time.Time, limit time.Duration) bool {
	if since.IsZero() {
		*since = time.Now()
	}
	return time.Since(*since) > limit
}

// still returns the VM as it is now, or why there is none to wait for.
func (a *attempt) still(ctx context.Context) (orkaapi.VM, error) {
	s, _ := a.f.latest()
	switch {
	case !s.there || s.vm.Deleting:
		return s.vm, errVanished
	case s.vm.Phase == orkaapi.Failed:
		return s.vm, a.broken(ctx, s.vm)
	}
	return s.vm, nil
}

func gaveUp(ctx context.Context, a *attempt, last error) error {
	if last == nil {
		return ctx.Err()
	}
	return fault.New(fault.BootTimeout, "%s: machine %s: gave up: %v: %w", a.p.name, a.spec.Name, context.Cause(ctx), last)
}

func (a *attempt) mixedUp(ep machine.Endpoint, why string) error {
	return fault.New(fault.ProviderDown, "%s: machine %s: Orka says that VM %s is at %s, but %s", a.p.name, a.spec.Name, a.order.Name, ep.Address(), why).
		WithRemedy("Orka's port rules are mixed up: delete both VMs. If all VMs of the image share one host key, set fixedHostKey.")
}

// pin notes the host key that the VM has shown.
func (a *attempt) pin(vm orkaapi.VM, key string) (machine.Machine, error) {
	err := a.p.change(vm.Name, func(r *record) { r.HostKey, r.Made = key, vm.Created })
	if err != nil {
		return machine.Machine{}, err
	}
	m, err := a.p.describe(vm)
	if err == nil && len(m.Endpoint.HostKeys) == 0 {
		return m, errVanished // its record went: somebody deletes it
	}
	return m, err
}

// Evidence is what a first contact has shown.
type evidence struct {
	key    string // the host key
	self   string // what the VM says that it is called; "": nothing
	mac    bool   // macOS runs there, so that a metadata service may yet come
	twin   string // another VM that has shown the same host key
	double string // another VM that Orka gives the same address
}

// examine contacts whoever answers at ep.
func (p *Provider) examine(ctx context.Context, d door, vm orkaapi.VM, ep machine.Endpoint) (e evidence, err error) {
	options := reach.Options{Timeout: greetLimit, DialContext: p.cfg.Dial, Log: p.log}
	if e.key, err = reach.Greet(ctx, ep, options); err != nil {
		return e, err
	}
	if e.twin, e.double, err = p.others(ctx, d, vm, e.key); err != nil {
		return e, err
	}
	ep.HostKeys = []string{e.key}
	limit, cancel := context.WithTimeout(ctx, askLimit)
	defer cancel()
	c, err := reach.Dial(limit, ep, options)
	if err != nil {
		return e, err
	}
	defer c.Close()
	if p.cfg.Identity != IdentityRequire && p.isSilent(vm.Image) {
		return e, nil
	}
	out, _, err := c.Output(limit, p.question(), nil)
	system, answer, _ := strings.Cut(string(out), "\n")
	e.mac, e.self = strings.TrimSpace(system) == "Darwin", nameIn(answer)
	return e, err
}

// question asks the VM for its own name, with whatever it has to ask.
func (p *Provider) question() string {
	return "uname -s; u='" + strings.ReplaceAll(p.api.MetadataURL(), "'", "") + "'; " +
		"curl -fs -m 3 \"$u\" 2>/dev/null || wget -q -T 3 -O - \"$u\" 2>/dev/null || true"
}

// nameIn finds a VM's name in the answer of its metadata service, which may be plain
// text or JSON. What is no name is nothing: other clouds have a service there too.
func nameIn(answer string) string {
	answer = strings.TrimSpace(answer)
	var fields map[string]any
	if json.Unmarshal([]byte(answer), &fields) == nil {
		for _, key := range []string{"orka_vm_name", "value"} {
			if s, ok := fields[key].(string); ok {
				answer = s
			}
		}
	}
	answer = strings.Trim(answer, `"`)
	if _, err := machine.ParseName(answer); err != nil {
		return ""
	}
	return answer
}

// others looks for VMs that refute the new one: with the same host key, or at the same address.
func (p *Provider) others(ctx context.Context, d door, vm orkaapi.VM, key string) (twin, double string, err error) {
	recs, err := p.records()
	if err != nil {
		return "", "", err
	}
	all, err := d.List(ctx)
	if err != nil {
		return "", "", p.api.Fault("list of VMs", err)
	}
	for _, other := range all {
		if other.Name == vm.Name || other.Deleting {
			continue
		}
		if r := recs[other.Name]; r.HostKey == key && r.Made.Equal(other.Created) {
			twin = other.Name
		}
		if other.Phase == orkaapi.Running && other.SSH != 0 && other.Host == vm.Host && other.SSH == vm.SSH {
			double = other.Name
		}
	}
	return twin, double, nil
}

// A likeness is what identify finds.
type likeness int

const (
	isUnproven likeness = iota
	isProven
	isWrong
)

// identify decides whether the VM is the one called name; why says what refutes it.
func identify(name string, e evidence, c Config) (l likeness, why string) {
	switch {
	case e.self == name:
		return isProven, ""
	case e.self != "":
		return isWrong, "VM " + e.self + " answers there, as it says itself"
	case e.double != "":
		return isWrong, "says the same of VM " + e.double
	case e.twin != "" && !c.FixedHostKey:
		return isWrong, "VM " + e.twin + " answers there: it has that host key"
	}
	return isUnproven, ""
}

func (p *Provider) isSilent(image string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.silent[image]
}

// hush notes that VMs of the image do not know their own name.
func (p *Provider) hush(image string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.silent[image] = true
}
