package qemu

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"time"

	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/machine"
)

// A phase is how far a machine's client came.
type phase string

const (
	creating phase = "creating" // a client makes it, or died while it did
	ready    phase = "ready"    // SSH answered
	deleting phase = "deleting"
)

// A record is what a machine's folder says of it. What changes without us,
// whether it runs, is not in it.
type record struct {
	Name      machine.Name      `json:"name"`
	Provider  string            `json:"provider"`
	Owner     machine.Owner     `json:"owner"`
	Image     string            `json:"image"`
	CPUs      int               `json:"cpus"`
	MemoryMiB int               `json:"memoryMiB"`
	Created   time.Time         `json:"created"`
	Expires   time.Time         `json:"expires,omitzero"`
	Labels    map[string]string `json:"labels,omitempty"`

	Phase   phase    `json:"phase"`
	Layers  []string `json:"layers"` // of the image, lowest first
	Disk    int64    `json:"disk"`   // size as the guest sees it
	Port    int      `json:"port,omitempty"`
	Listen  string   `json:"listen,omitempty"` // address of Port; "": loopback
	HostKey string   `json:"hostKey,omitempty"`
}

// host is the address of this computer at which the machine is reached.
func (r record) host() string {
	fill(&r.Listen, loopback)
	return r.Listen
}

func (r record) address(port int) string { return net.JoinHostPort(r.host(), strconv.Itoa(port)) }

func (p *Provider) machineDir(name machine.Name) string { return p.path(machinesDir, string(name)) }

func (p *Provider) vmOf(name machine.Name) vm { return vm{p.machineDir(name), p.log} }

// load reads a machine's record; a fault of kind UnknownMachine if there is
// none, or it is another provider's.
func (p *Provider) load(name machine.Name) (record, error) {
	r, err := p.loadAny(name)
	if err == nil && r.Provider != p.name {
		return record{}, fault.New(fault.UnknownMachine, "%s: no machine %s, but provider %s has one", p.name, name, r.Provider)
	}
	return r, err
}

func (p *Provider) loadAny(name machine.Name) (record, error) {
	var r record
	if _, err := machine.ParseName(string(name)); err != nil {
		return r, fault.New(fault.UnknownMachine, "qemu: %w", err)
	}
	err := readJSON(filepath.Join(p.machineDir(name), recordFile), &r)
	if errors.Is(err, fs.ErrNotExist) {
		return r, fault.New(fault.UnknownMachine, "%s: no machine %s", p.name, name)
	}
	return r, err
}

func (p *Provider) store(r record) error {
	return writeJSON(filepath.Join(p.machineDir(r.Name), recordFile), r)
}

// describe looks whether the machine runs and says what it is.
func (p *Provider) describe(ctx context.Context, r record) (machine.Machine, error) {
	m := machine.Machine{
		Name: r.Name, Provider: p.name, Owner: r.Owner, Image: r.Image,
		Platform: machine.Platform{OS: "linux", Arch: runtime.GOARCH},
		Created:  r.Created, Expires: r.Expires, Labels: r.Labels,
	}
	state, err := p.state(ctx, r)
	if err != nil {
		return machine.Machine{}, err
	}
	m.State = state
	if r.Port == 0 {
		return m, nil
	}
	login, err := os.ReadFile(filepath.Join(p.machineDir(r.Name), loginFile))
	if err != nil {
		return machine.Machine{}, localFile(err)
	}
	m.Endpoint = machine.Endpoint{
		Host: r.host(), Port: r.Port, User: "root", HostKeys: []string{r.HostKey},
		Auth: machine.Auth{Keys: []machine.Secret{machine.NewSecret(string(login))}},
	}
	return m, nil
}

// askState bounds the question to QEMU how its guest does.
const askState = 2 * time.Second

func (p *Provider) state(ctx context.Context, r record) (machine.State, error) {
	switch r.Phase {
	case creating:
		return machine.Creating, nil
	case deleting:
		return machine.Deleting, nil
	}
	v := p.vmOf(r.Name)
	running, err := v.running()
	if err != nil {
		return "", err
	}
	if !running {
		return machine.Failed, nil
	}
	ctx, cancel := context.WithTimeout(ctx, askState)
	defer cancel()
	status, err := v.status(ctx)
	if err != nil {
		// Another session may be long, or the process may just have ended.
		p.log.Debug("monitor did not answer", "machine", r.Name, "error", err)
		running, err = v.running()
		if !running {
			return machine.Failed, err
		}
		return machine.Running, err
	}
	switch status {
	case "shutdown":
		return machine.Stopped, nil
	case "internal-error", "io-error", "guest-panicked":
		return machine.Failed, nil
	}
	return machine.Running, nil
}

func (v vm) status(ctx context.Context) (string, error) {
	m, err := v.monitor(ctx)
	if err != nil {
		return "", err
	}
	defer m.Close()
	var answer struct{ Status string }
	err = m.Do(ctx, "query-status", nil, &answer)
	return answer.Status, err
}
