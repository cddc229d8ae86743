// Package orka is a provider of macOS virtual machines on a MacStadium Orka cluster,
// version 3 or newer.
//
// An Orka has two doors. Through the Kubernetes API a VM is an object: it carries
// labels that say whose it is, and a watch tells of its changes. Through the REST API a
// deploy is one call that waits at the server. Kubernetes' door is used where the
// cluster names one and the token may look there, else REST; both give the same VMs the
// same names, so that they can be mixed.
//
// The name of a VM is made of the machine's and a mark (see vmName) before anybody is asked.
// So a create whose answer was lost finds its VM by name, and asking twice makes one: Orka
// refuses a second VM of a name. What is asked for and not yet seen is noted in a
// record, and Delete waits a moment for it to appear.
//
// A VM is handed out when SSH answers, its host key is pinned, and nothing says that
// another VM answers there: Orka has mixed up port rules before (package comment
// of contact.go, docs/design/orka.md).
package orka

import (
	"context"
	"log/slog"
	"maps"
	"path/filepath"
	"sync"
	"time"

	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/machine"
	"outrigger.dev/outrigger/internal/provider"
	"outrigger.dev/outrigger/internal/provider/orka/orkaapi"
)

// A Provider makes VMs at one Orka, in one namespace.
type Provider struct {
	name string
	dir  string // of the records
	cfg  Config
	api  *orkaapi.Client
	log  *slog.Logger

	files sync.Mutex // held while a record is changed

	choosing sync.Mutex // held while a door is chosen
	door     door
	again    time.Time // when a door that was second choice is chosen anew; zero: never

	mu     sync.Mutex
	asked  map[machine.Name]asking // what this process was asked to create
	silent map[string]bool         // images whose VMs do not know their own name
}

// An asking is what this process knows of a machine that it was asked to create.
type asking struct {
	vm   string
	sent bool // Orka was asked for it
}

var _ provider.Provider = (*Provider)(nil)

// New checks cfg and returns the provider called name, whose records are below state. It
// contacts nobody.
func New(name string, cfg Config, state string, log *slog.Logger) (*Provider, error) {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	if err := cfg.Check(); err != nil {
		return nil, err
	}
	cfg = cfg.Defaults()
	api, err := orkaapi.New(orkaapi.Options{
		Endpoint: cfg.Endpoint, Token: cfg.Token, Refresh: cfg.Refresh, CA: cfg.CA, Fields: cfg.Fields, DialContext: cfg.Dial, Log: log,
	})
	if err != nil {
		return nil, err
	}
	dir, err := filepath.Abs(filepath.Join(state, "orka", name))
	if err != nil {
		return nil, fault.New(fault.Internal, "orka: state folder %s: %w", state, err)
	}
	return &Provider{
		name: name, dir: dir, cfg: cfg, api: api, log: log,
		asked: map[machine.Name]asking{}, silent: map[string]bool{},
	}, nil
}

// TokenExpires implements [provider.Credential].
func (p *Provider) TokenExpires() (time.Time, bool) { return p.api.TokenExpires() }

// Get implements [provider.Provider].
func (p *Provider) Get(ctx context.Context, name machine.Name) (machine.Machine, error) {
	vms, err := p.named(ctx, name)
	if err != nil {
		return machine.Machine{}, err
	}
	if len(vms) == 0 {
		return machine.Machine{}, fault.New(fault.UnknownMachine, "%s: no machine %s", p.name, name)
	}
	return p.describe(vms[0])
}

// named returns the VMs that are the machine, whoever owns it: one, as a rule.
func (p *Provider) named(ctx context.Context, name machine.Name) ([]orkaapi.VM, error) {
	d, err := p.open(ctx)
	if err != nil {
		return nil, err
	}
	if vm, ok := p.known(name); ok {
		found, err := d.Get(ctx, vm)
		if orkaapi.IsNotFound(err) {
			return nil, nil
		}
		if err != nil {
			return nil, p.api.Fault("machine "+string(name), err)
		}
		if p.isForeign(found) {
			return nil, nil
		}
		return []orkaapi.VM{found}, nil
	}
	all, err := d.List(ctx)
	if err != nil {
		return nil, p.api.Fault("list of VMs", err)
	}
	var found []orkaapi.VM
	for _, vm := range all {
		if n, ok := nameOf(vm.Name); ok && n == name {
			found = append(found, vm)
		}
	}
	return found, nil
}

// known returns the VM's name of a machine that this installation asked for.
func (p *Provider) known(name machine.Name) (string, bool) {
	p.mu.Lock()
	a, ok := p.asked[name]
	p.mu.Unlock()
	if ok {
		return a.vm, true
	}
	recs, err := p.records()
	if err != nil {
		return "", false // without records we look at the list
	}
	for vm, r := range recs {
		if r.Name == name {
			return vm, true
		}
	}
	return "", false
}

// List implements [provider.Provider].
func (p *Provider) List(ctx context.Context, owner machine.Owner) ([]machine.Machine, error) {
	d, err := p.open(ctx)
	if err != nil {
		return nil, err
	}
	vms, err := d.List(ctx)
	if err != nil {
		return nil, p.api.Fault("list of VMs", err)
	}
	var all []machine.Machine
	for _, vm := range vms {
		if _, ours := nameOf(vm.Name); !ours || owner != "" && !owned(vm.Name, owner) || p.isForeign(vm) {
			continue
		}
		m, err := p.describe(vm)
		if err != nil {
			return nil, err
		}
		if m.Owner == "" {
			m.Owner = owner
		}
		all = append(all, m)
	}
	return all, nil
}

// What we write on objects.
const (
	labelManaged = "outrigger.dev/managed-by"
	labelMachine = "outrigger.dev/machine"
	labelOwner   = "outrigger.dev/owner"
	noteOwner    = "outrigger.dev/owner"   // annotations: any text
	noteExpires  = "outrigger.dev/expires" // RFC 3339
	noteLabels   = "outrigger.dev/labels"  // JSON
)

// describe puts a VM into the seam's words, with what its record says.
func (p *Provider) describe(vm orkaapi.VM) (machine.Machine, error) {
	r, _, err := p.load(vm.Name)
	if err != nil {
		return machine.Machine{}, err
	}
	name, _ := nameOf(vm.Name)
	m := machine.Machine{
		Name: name, Provider: p.name, Owner: r.Owner, State: stateOf(vm), Image: vm.Image,
		Platform: machine.Platform{OS: "darwin", Arch: p.cfg.Arch},
		Created:  vm.Created, Expires: r.Expires, Labels: r.Labels,
	}
	if r.VM == "" {
		fromNotes(&m, vm)
	}
	if m.Image == "" {
		m.Image = r.Image
	}
	if m.Created.IsZero() {
		m.Created = r.Asked
	}
	if ep, ok := p.endpoint(vm); ok {
		m.Endpoint = ep
		if r.HostKey != "" && r.Made.Equal(vm.Created) {
			m.Endpoint.HostKeys = []string{r.HostKey}
		}
	}
	return m, nil
}

// fromNotes reads what an object carries of its machine.
func fromNotes(m *machine.Machine, vm orkaapi.VM) {
	m.Owner = machine.Owner(vm.Annotations[noteOwner])
	if t, err := time.Parse(time.RFC3339, vm.Annotations[noteExpires]); err == nil {
		m.Expires = t
	}
	m.Labels = labelsOf(vm.Annotations[noteLabels])
}

func stateOf(vm orkaapi.VM) machine.State {
	switch {
	case vm.Deleting:
		return machine.Deleting
	case vm.Phase == orkaapi.Running:
		return machine.Running
	case vm.Phase == orkaapi.Failed:
		return machine.Failed
	}
	return machine.Creating
}

// endpoint is where the VM's SSH port is reached; false while Orka does not say.
func (p *Provider) endpoint(vm orkaapi.VM) (machine.Endpoint, bool) {
	bridged := vm.Bridged && p.cfg.Network != NetworkNAT || p.cfg.Network == NetworkBridge
	port := vm.SSH
	if port == 0 && bridged {
		port = 22
	}
	if vm.Phase != orkaapi.Running || vm.Host == "" || port == 0 {
		return machine.Endpoint{}, false
	}
	host := vm.Host
	if public, ok := p.cfg.Addresses[host]; ok {
		host = public
	}
	return machine.Endpoint{
		Host: host, Port: port, User: p.cfg.User,
		Auth: machine.Auth{Keys: p.cfg.Keys, KeyFiles: p.cfg.KeyFiles, Password: p.cfg.Password},
	}, true
}

// order is what Orka is asked for.
func (p *Provider) order(spec machine.Spec) orkaapi.Deploy {
	c := p.cfg
	d := orkaapi.Deploy{
		Name: vmName(spec.Name, spec.Owner), Image: c.Image, VMConfig: c.VMConfig, CPU: c.CPUs, MemoryGB: gigabytes(c.MemoryMiB),
		Node: c.Node, Scheduler: c.Scheduler, Tag: c.Tag, TagRequired: c.TagRequired, ReservedPorts: joinPorts(c.ReservedPorts),
		NetBoost: c.NetBoost, LegacyIO: c.LegacyIO, GPU: c.GPUPassthrough, VNCConsole: c.VNCConsole, ISO: c.ISO,
		SystemSerial: c.SystemSerial, DisplayWidth: c.DisplayWidth, DisplayHeight: c.DisplayHeight, DisplayDPI: c.DisplayDPI,
		Metadata: c.Metadata, Labels: map[string]string{}, Annotations: map[string]string{},
	}
	if spec.Image != "" {
		d.Image, d.VMConfig = spec.Image, ""
	}
	if spec.CPUs > 0 {
		d.CPU = spec.CPUs
	}
	if spec.MemoryMiB > 0 {
		d.MemoryGB = gigabytes(spec.MemoryMiB)
	}
	maps.Copy(d.Labels, c.Labels)
	d.Labels[labelManaged] = "outrigger"
	d.Labels[labelMachine] = string(spec.Name)
	d.Labels[labelOwner] = digest("owner", string(spec.Owner))[:16]
	d.Annotations[noteOwner] = string(spec.Owner)
	if !spec.Expires.IsZero() {
		d.Annotations[noteExpires] = spec.Expires.UTC().Format(time.RFC3339)
	}
	if len(spec.Labels) > 0 {
		d.Annotations[noteLabels] = labelsText(spec.Labels)
	}
	return d
}
