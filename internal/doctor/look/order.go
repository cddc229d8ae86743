package look

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"outrigger.dev/outrigger/internal/doctor"
	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/machine"
	"outrigger.dev/outrigger/internal/provider/orka"
)

// An Order is what somebody elsewhere is to look at, written down: secrets included, unless they are
// kept back. Both sides are of one version.
type Order struct {
	Provider string         `json:"provider"`
	Pool     bool           `json:"pool,omitempty"`
	Kind     doctor.Kind    `json:"kind"`
	Image    string         `json:"image,omitempty"`
	KeptBack string         `json:"keptBack,omitempty"`
	Orka     *orkaOrder     `json:"orka,omitempty"`
	Via      []viaOrder     `json:"via,omitempty"`
	Subjects []subjectOrder `json:"subjects,omitempty"`
	Why      string         `json:"why,omitempty"` // there are no subjects
}

// An orkaOrder is what looks need of an Orka's configuration.
type orkaOrder struct {
	Endpoint    string            `json:"endpoint"`
	Namespace   string            `json:"namespace,omitempty"`
	Door        orka.Door         `json:"door,omitempty"`
	Token       string            `json:"token,omitempty"`
	CA          string            `json:"ca,omitempty"`
	Image       string            `json:"image,omitempty"`
	VMConfig    string            `json:"vmConfig,omitempty"`
	Arch        string            `json:"arch,omitempty"`
	CPUs        int               `json:"cpus,omitempty"`
	Node        string            `json:"node,omitempty"`
	Tag         string            `json:"tag,omitempty"`
	TagRequired bool              `json:"tagRequired,omitempty"`
	Addresses   map[string]string `json:"addresses,omitempty"`
	Fields      map[string]string `json:"fields,omitempty"`
}

type viaOrder struct {
	URL      string `json:"url"`
	User     string `json:"user,omitempty"`
	Password string `json:"password,omitempty"`
	CA       string `json:"ca,omitempty"`
	Name     string `json:"name,omitempty"`
}

type subjectOrder struct {
	Title    string           `json:"title"`
	Endpoint machine.Endpoint `json:"endpoint"`
	Via      []viaOrder       `json:"via,omitempty"`
	Known    string           `json:"known,omitempty"` // what known_hosts files hold
	Keys     []string         `json:"keys,omitempty"`
	Password string           `json:"password,omitempty"`
	OS       string           `json:"os,omitempty"`
	Session  string           `json:"session,omitempty"`
	Slots    int              `json:"slots,omitempty"`
	Own      []string         `json:"own,omitempty"`
	Inner    []string         `json:"inner,omitempty"`
	KeptBack string           `json:"keptBack,omitempty"`
	Left     string           `json:"left,omitempty"` // why it is not looked at
}

// Order writes down what is to be looked at. why says that there are no subjects.
func (p Patient) Order(subjects []Subject, why string) (Order, error) {
	o := Order{Provider: p.Name, Pool: p.Pool, Kind: p.Kind, Image: p.Image, KeptBack: p.KeptBack, Why: why}
	var err error
	if o.Via, err = p.steps(p.Via); err != nil {
		return o, err
	}
	if c, ok := p.Config.(orka.Config); ok {
		o.Orka = &orkaOrder{
			Endpoint: c.Endpoint, Namespace: c.Namespace, Door: c.Door, CA: c.CA, Image: c.Image, VMConfig: c.VMConfig, Arch: c.Arch,
			CPUs: c.CPUs, Node: c.Node, Tag: c.Tag, TagRequired: c.TagRequired, Addresses: c.Addresses, Fields: c.Fields,
		}
		if p.KeptBack == "" {
			o.Orka.Token = c.Token.Reveal()
		}
	}
	for _, s := range subjects {
		one, err := p.subjectOrder(s)
		if err != nil {
			return o, err
		}
		o.Subjects = append(o.Subjects, one)
	}
	return o, nil
}

func (p Patient) steps(all []machine.Via) (out []viaOrder, err error) {
	for _, v := range all {
		if !v.WireGuard.Empty() {
			return nil, fault.New(fault.Usage, "provider %s: is reached through a WireGuard tunnel of this computer's, which no Pod uses", p.Name).
				WithRemedy("Look at a pool that goes through a hub: outrigger doctor --pool NAME --in-cluster")
		}
		s := viaOrder{URL: v.URL, User: v.User, CA: v.CA, Name: v.Name}
		if p.KeptBack == "" {
			s.Password = v.Password.Reveal()
		}
		out = append(out, s)
	}
	return out, nil
}

// maxKnown bounds what of known_hosts files is sent along; a Secret may have 1 MiB.
const maxKnown = 256 << 10

func (p Patient) subjectOrder(s Subject) (subjectOrder, error) {
	ep := s.Endpoint
	o := subjectOrder{Title: s.Title, Endpoint: ep, OS: s.OS, Session: s.Session, Slots: s.Slots, Own: s.Own, Inner: s.Inner, KeptBack: s.KeptBack}
	var err error
	if o.Via, err = p.steps(ep.Via); err != nil {
		return o, err
	}
	if len(ep.Jumps) > 0 {
		o.Left = "not tried: the login of its jump host stays here"
		o.Endpoint.Jumps = nil
		return o, nil
	}
	if len(ep.HostKeys) == 0 {
		for _, file := range ep.KnownHosts {
			b, err := os.ReadFile(file)
			if err == nil && len(o.Known)+len(b) < maxKnown { // one that is not there knows nobody
				o.Known += strings.TrimRight(string(b), "\n") + "\n"
			}
		}
	}
	o.Endpoint.KnownHosts = nil
	if p.KeptBack != "" || s.KeptBack != "" {
		return o, nil
	}
	o.Password = ep.Auth.Password.Reveal()
	for _, k := range ep.Auth.Keys {
		o.Keys = append(o.Keys, k.Reveal())
	}
	for _, file := range ep.Auth.KeyFiles {
		if b, err := os.ReadFile(file); err == nil { // what cannot be read is told of by the look from here
			o.Keys = append(o.Keys, string(b))
		}
	}
	if len(o.Keys) == 0 && o.Password == "" {
		o.KeptBack = "the keys of the SSH agent stay where they are"
	}
	return o, nil
}

// Carry does what the order says, in a Pod. dir is for a file with host keys.
func (o Order) Carry(now func() time.Time, log *slog.Logger, dir string) (Patient, []Subject, error) {
	p := Patient{Name: o.Provider, Pool: o.Pool, Kind: o.Kind, Pod: true, Image: o.Image, KeptBack: o.KeptBack, Via: vias(o.Via), Log: log, Now: now}
	if c := o.Orka; c != nil {
		p.Config = orka.Config{
			Endpoint: c.Endpoint, Namespace: c.Namespace, Door: c.Door, Token: machine.NewSecret(c.Token), CA: c.CA, Image: c.Image, VMConfig: c.VMConfig,
			Arch: c.Arch, CPUs: c.CPUs, Node: c.Node, Tag: c.Tag, TagRequired: c.TagRequired, Addresses: c.Addresses, Fields: c.Fields,
		}
	}
	var subjects []Subject
	for i, s := range o.Subjects {
		ep := s.Endpoint
		ep.Via = vias(s.Via)
		ep.Auth.Password = machine.NewSecret(s.Password)
		for _, k := range s.Keys {
			ep.Auth.Keys = append(ep.Auth.Keys, machine.NewSecret(k))
		}
		if s.Known != "" {
			file := filepath.Join(dir, fmt.Sprintf("known_hosts_%d", i))
			if err := os.WriteFile(file, []byte(s.Known), 0o600); err != nil {
				return p, nil, fault.New(fault.LocalFile, "known hosts: %w", err)
			}
			ep.KnownHosts = []string{file}
		}
		subjects = append(subjects, Subject{
			Title: s.Title, Endpoint: ep, OS: s.OS, Session: s.Session, Slots: s.Slots, Own: s.Own, Inner: s.Inner,
			KeptBack: s.KeptBack, Left: s.Left,
		})
	}
	return p, subjects, nil
}

func vias(all []viaOrder) (out []machine.Via) {
	for _, v := range all {
		out = append(out, machine.Via{URL: v.URL, User: v.User, Password: machine.NewSecret(v.Password), CA: v.CA, Name: v.Name})
	}
	return out
}
