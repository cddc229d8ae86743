package doctor

import (
	"context"
	"slices"

	"outrigger.dev/outrigger/internal/cli/app"
	"outrigger.dev/outrigger/internal/config"
	"outrigger.dev/outrigger/internal/doctor"
	"outrigger.dev/outrigger/internal/doctor/look"
	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/machine"
	"outrigger.dev/outrigger/internal/provider/sshhost"
)

// ofProvider takes a provider of the configuration.
func (v *visit) ofProvider(ctx context.Context) error {
	a, on := v.app, v.o.On
	cfg, err := a.Config()
	if err != nil {
		return err
	}
	if on == "" && v.o.Machine != "" {
		if m, _, err := a.Machine(ctx, v.o.Machine); err == nil {
			on = m.Provider
		} // else it is a host of the default provider, or nobody's, which is told below
	}
	name, opened, err := a.Provider(ctx, on)
	if err != nil {
		return err
	}
	secrets := config.Secrets{Getenv: a.IO.Getenv, Environ: a.IO.Environ, Warn: a.Warn}
	resolved, err := cfg.Resolve(ctx, name, secrets)
	if err != nil {
		return err
	}
	steps, err := cfg.Via(ctx, name, secrets)
	if err != nil {
		return err
	}
	dirs, err := a.Dirs()
	if err != nil {
		return err
	}
	_, entry, err := cfg.Provider(name)
	if err != nil {
		return err
	}
	v.patient = look.Patient{
		Name: name, Kind: doctor.Kind(entry.Type()), Config: resolved, Provider: opened, State: dirs.State,
		Via: steps, Tunnels: a.Tunnels(), Image: v.o.Image, Log: a.Log(), Now: a.IO.Now,
	}
	v.choose = func(ctx context.Context) ([]look.Subject, string) { return choose(ctx, a, v.o, v.patient) }
	return nil
}

// choose returns the machines to look at: hosts that exist already, the machine that was named, or
// one of those that are there. Without any it says why.
func choose(ctx context.Context, a *app.App, o Options, p look.Patient) ([]look.Subject, string) {
	if c, ok := p.Config.(sshhost.Config); ok {
		return hosts(c, p, o.Machine)
	}
	if o.Machine != "" {
		m, err := p.Provider.Get(ctx, machine.Name(o.Machine))
		switch {
		case err != nil:
			return nil, err.Error()
		case m.Endpoint.Host == "":
			return nil, "machine " + o.Machine + " is " + string(m.State) + ", and has no address"
		}
		return []look.Subject{subject(m)}, ""
	}
	all, err := p.Provider.List(ctx, "")
	if err != nil {
		return nil, err.Error()
	}
	all = slices.DeleteFunc(all, func(m machine.Machine) bool { return m.State != machine.Running || m.Endpoint.Host == "" })
	if len(all) == 0 {
		return nil, "there is no machine to look at: --create makes one and deletes it afterwards"
	}
	own := owner(a)
	slices.SortStableFunc(all, func(x, y machine.Machine) int { return preference(y, own) - preference(x, own) })
	return []look.Subject{subject(all[0])}, ""
}

// preference is higher for machines of which more can be seen: those whose key is known, and our own.
func preference(m machine.Machine, own machine.Owner) (n int) {
	if len(m.Endpoint.HostKeys)+len(m.Endpoint.KnownHosts) > 0 {
		n += 2
	}
	if m.Owner == own {
		n++
	}
	return n
}

// owner is this installation; "" if it made nothing yet.
func owner(a *app.App) machine.Owner {
	l, err := a.Ledger()
	if err != nil {
		return ""
	}
	own, err := l.Owner()
	if err != nil {
		return ""
	}
	return own
}

func subject(m machine.Machine) look.Subject {
	return look.Subject{Title: "machine " + string(m.Name), Endpoint: m.Endpoint, OS: m.Platform.OS}
}

// hosts are those of the configuration, or the one that was named.
func hosts(c sshhost.Config, p look.Patient, only string) ([]look.Subject, string) {
	all, err := c.Places()
	if err != nil {
		return nil, err.Error()
	}
	var out []look.Subject
	for _, h := range all {
		if only == "" || only == h.Name {
			ep := h.Endpoint
			ep.Via = p.Via
			out = append(out, look.Subject{Title: "host " + h.Name, Endpoint: ep, OS: h.OS, Slots: h.Slots})
		}
	}
	if len(out) == 0 {
		return nil, fault.New(fault.UnknownMachine, "host %s: provider %s lists none of that name", only, p.Name).Error()
	}
	return out, ""
}
