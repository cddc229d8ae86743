//go:build linux || darwin

package local

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"os/user"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/machine"
	"outrigger.dev/outrigger/internal/provider"
)

// A Provider makes machines that are processes here.
type Provider struct {
	name string
	dir  string   // <state>/local
	self []string // runs ServeMain
	user string
	log  *slog.Logger
}

var _ provider.Provider = (*Provider)(nil)

// New returns the provider called name, whose machines live below
// <state>/local. self is the command that runs [ServeMain]; empty means this
// executable with [ServeCommand].
func New(name string, _ Config, state string, self []string, log *slog.Logger) (*Provider, error) {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	if len(self) == 0 {
		exe, err := os.Executable()
		if err != nil {
			return nil, fault.New(fault.LocalFile, "local: where this program lies: %w", err)
		}
		self = []string{exe, ServeCommand}
	}
	login := strconv.Itoa(os.Getuid()) // a container may run as a number that no user has
	if u, err := user.Current(); err == nil {
		login = u.Username
	}
	dir, err := filepath.Abs(filepath.Join(state, "local"))
	if err != nil {
		return nil, fault.New(fault.LocalFile, "local: %w", err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fault.New(fault.LocalFile, "local: %w", err)
	}
	// Processes are known by this path, so it has one spelling.
	if dir, err = filepath.EvalSymlinks(dir); err != nil {
		return nil, fault.New(fault.LocalFile, "local: %w", err)
	}
	return &Provider{name: name, dir: dir, self: self, user: login, log: log}, nil
}

// Create implements [provider.Provider]. A machine whose server has died is
// started again; it has the same home and the same keys.
func (p *Provider) Create(ctx context.Context, spec machine.Spec) (machine.Machine, error) {
	if spec.Image != "" {
		return machine.Machine{}, fault.New(fault.UnknownImage, "local: image %q: machines on this computer have no images", spec.Image)
	}
	if _, err := machine.ParseName(string(spec.Name)); err != nil {
		return machine.Machine{}, fault.New(fault.ProviderRefused, "local: %w", err)
	}
	f, err := p.enter(ctx, spec.Name, true)
	if err != nil {
		return machine.Machine{}, err
	}
	defer f.leave()
	rec, err := f.record()
	if errors.Is(err, fs.ErrNotExist) { // new, or its maker died before it got this far
		rec, err = f.begin(p.name, spec)
	}
	if err != nil {
		return machine.Machine{}, fault.New(fault.LocalFile, "local: machine %s: %w", spec.Name, err)
	}
	if rec.Owner != spec.Owner || rec.Provider != p.name {
		return machine.Machine{}, fault.New(fault.NameTaken, "local: machine %s: belongs to %q at provider %s, not to %q at %s", spec.Name, rec.Owner, rec.Provider, spec.Owner, p.name)
	}
	if !f.alive() {
		// It begins anew, and so does its time.
		rec.Expires = spec.Expires
		if !rec.Expires.IsZero() && time.Now().After(rec.Expires) {
			return machine.Machine{}, fault.New(fault.ProviderRefused, "local: machine %s: is to expire at %s, which is over", spec.Name, rec.Expires)
		}
		if err := f.write("machine.json", rec); err != nil {
			return machine.Machine{}, fault.New(fault.LocalFile, "local: machine %s: %w", spec.Name, err)
		}
	}
	if err := f.run(ctx, p.self); err != nil {
		return machine.Machine{}, fault.New(fault.ProviderDown, "local: machine %s: the server does not start: %w", spec.Name, err).
			WithDetail(f.lastWords())
	}
	return p.describe(f)
}

// Get implements [provider.Provider].
func (p *Provider) Get(_ context.Context, name machine.Name) (machine.Machine, error) {
	if _, err := machine.ParseName(string(name)); err != nil {
		return machine.Machine{}, fault.New(fault.UnknownMachine, "local: %w", err)
	}
	return p.describe(p.folder(name))
}

// List implements [provider.Provider].
func (p *Provider) List(_ context.Context, owner machine.Owner) ([]machine.Machine, error) {
	entries, err := os.ReadDir(p.dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fault.New(fault.LocalFile, "local: %w", err)
	}
	var all []machine.Machine
	for _, e := range entries {
		name, err := machine.ParseName(e.Name())
		if err != nil {
			continue // on its way out, see Delete
		}
		m, err := p.describe(p.folder(name))
		switch {
		case fault.Is(err, fault.UnknownMachine):
			continue // deleted meanwhile, or another provider's
		case err != nil:
			return all, err
		case owner == "" || m.Owner == owner:
			all = append(all, m)
		}
	}
	return all, nil
}

// describe tells what the folder says.
func (p *Provider) describe(f *folder) (machine.Machine, error) {
	m := machine.Machine{
		Name:     f.name,
		Provider: p.name,
		State:    machine.Stopped,
		Platform: machine.Platform{OS: runtime.GOOS, Arch: runtime.GOARCH},
	}
	rec, err := f.record()
	if errors.Is(err, fs.ErrNotExist) {
		// Its maker died, or is at it. Create completes it, Delete removes it.
		info, err := os.Stat(f.dir)
		if err != nil {
			return machine.Machine{}, fault.New(fault.UnknownMachine, "local: no machine %s", f.name)
		}
		m.State, m.Created = machine.Creating, info.ModTime()
		return m, nil
	}
	if err != nil {
		return machine.Machine{}, fault.New(fault.LocalFile, "local: machine %s: %w", f.name, err)
	}
	if rec.Provider != p.name {
		return machine.Machine{}, fault.New(fault.UnknownMachine, "local: machine %s: belongs to provider %s", f.name, rec.Provider)
	}
	m.Owner, m.Created, m.Expires, m.Labels = rec.Owner, rec.Created, rec.Expires, rec.Labels
	hostKey, err := os.ReadFile(f.path("host_key.pub"))
	if err != nil {
		return machine.Machine{}, fault.New(fault.LocalFile, "local: machine %s: %w", f.name, err)
	}
	clientKey, err := os.ReadFile(f.path("client_key"))
	if err != nil {
		return machine.Machine{}, fault.New(fault.LocalFile, "local: machine %s: %w", f.name, err)
	}
	m.Endpoint = machine.Endpoint{
		Host:     "127.0.0.1",
		User:     p.user,
		HostKeys: []string{strings.TrimSpace(string(hostKey))},
		Auth:     machine.Auth{Keys: []machine.Secret{machine.NewSecret(string(clientKey))}},
	}
	run, err := f.running()
	switch {
	case err == nil && f.alive():
		m.State, m.Endpoint.Port = machine.Running, run.Port
	case f.alive():
		m.State = machine.Creating
	}
	return m, nil
}

// lockWait is how long one may wait for another client that makes or deletes
// the same machine, unless the context ends before.
const lockWait = 30 * time.Second

// enter takes the machine's folder for this process alone; make makes it. A
// folder that is not there gives a nil folder.
func (p *Provider) enter(ctx context.Context, name machine.Name, make bool) (*folder, error) {
	f := p.folder(name)
	limited, cancel := context.WithTimeout(ctx, lockWait)
	defer cancel()
	got, err := f.enter(limited, make)
	switch {
	case ctx.Err() != nil && err != nil:
		return nil, fault.New(fault.Busy, "local: machine %s: gave up: %w", name, context.Cause(ctx))
	case errors.Is(err, context.DeadlineExceeded):
		return nil, fault.New(fault.Busy, "local: machine %s: another process makes or deletes it: %w", name, err)
	case err != nil:
		return nil, fault.New(fault.LocalFile, "local: machine %s: %w", name, err)
	case !got:
		return nil, nil
	}
	return f, nil
}

func (p *Provider) folder(name machine.Name) *folder {
	return &folder{name: name, dir: filepath.Join(p.dir, string(name))}
}
