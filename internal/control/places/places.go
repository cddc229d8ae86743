// Package places opens the providers that MachinePools name. What a provider
// keeps on disk lies below one state folder, which must outlive the process.
package places

import (
	"log/slog"
	"path/filepath"
	"sync"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"outrigger.dev/outrigger/api/v1alpha1"
	"outrigger.dev/outrigger/internal/control/pools"
	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/machine"
	"outrigger.dev/outrigger/internal/provider"
	"outrigger.dev/outrigger/internal/provider/all"
	"outrigger.dev/outrigger/internal/provider/local"
	"outrigger.dev/outrigger/internal/provider/qemu"
	"outrigger.dev/outrigger/internal/provider/sshhost"
)

// Places opens providers, and keeps them open until their pool changes.
type Places struct {
	place all.Place
	hub   *Hub // nil: there is none

	mu   sync.Mutex
	open map[types.UID]opened
}

type opened struct {
	generation int64
	secrets    string // resource versions of the Secrets
	place      pools.Place
}

// New returns Places whose providers work with what place says.
func New(place all.Place) *Places {
	if place.Log == nil {
		place.Log = slog.New(slog.DiscardHandler)
	}
	return &Places{place: place, open: map[types.UID]opened{}}
}

// Behind lets pools name networks of the hub, and returns s.
func (s *Places) Behind(hub *Hub) *Places {
	s.hub = hub
	return s
}

// Open implements [pools.Places].
func (s *Places) Open(p *v1alpha1.MachinePool, login, access *corev1.Secret) (pools.Place, error) {
	version := ""
	for _, secret := range []*corev1.Secret{login, access} {
		version += "/"
		if secret != nil {
			version += secret.ResourceVersion
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if o, ok := s.open[p.UID]; ok && o.generation == p.Generation && o.secrets == version {
		return o.place, nil
	}
	place, err := s.openPool(p, login, access)
	if err != nil {
		return pools.Place{}, err
	}
	s.open[p.UID] = opened{p.Generation, version, place}
	return place, nil
}

func (s *Places) openPool(p *v1alpha1.MachinePool, secret, access *corev1.Secret) (pools.Place, error) {
	auth, err := loginOf(p, secret)
	if err != nil {
		return pools.Place{}, err
	}
	where := s.place
	where.Log = where.Log.With("pool", p.Name)
	config, err := s.configOf(p, auth, access)
	if err != nil {
		return pools.Place{}, err
	}
	way, err := s.wayTo(p)
	if err != nil {
		return pools.Place{}, err
	}
	where.Dial = way.dial
	opened, err := all.Open(p.Name, config, where)
	if err != nil {
		return pools.Place{}, err
	}
	out := pools.Place{Provider: limit(opened)}
	if ssh, ok := config.(sshhost.Config); ok {
		out.Lasting = true
		out.Provider = &acquainted{Provider: out.Provider, hosts: ssh.Hosts, dial: way.dial, file: s.knownHosts(p)}
	}
	out.Adopt = func(ep machine.Endpoint) machine.Endpoint {
		if auth.user != "" {
			ep.User = auth.user
		}
		if !auth.empty() {
			ep.Auth = machine.Auth{Keys: auth.keys, Password: auth.password}
		}
		return way.tell(ep)
	}
	return out, nil
}

// configOf puts the pool's provider into the provider's own words.
func (s *Places) configOf(p *v1alpha1.MachinePool, auth login, access *corev1.Secret) (any, error) {
	switch from := p.Spec.Provider; {
	case from.Local != nil:
		return local.Config{}, nil
	case from.QEMU != nil:
		return qemu.Config{
			Image: p.Spec.Image, Accel: qemu.Accel(from.QEMU.Accel), Isolated: from.QEMU.Isolated, Listen: from.QEMU.Listen,
			Max: maxMachines,
		}, nil
	case from.SSH != nil:
		return s.hosts(p, auth)
	case from.Orka != nil:
		return orkaOf(p, auth, access)
	}
	return nil, fault.New(fault.Config, "pool %s: names no provider that this controller knows", p.Name)
}

// maxMachines leaves the limit to the pool's max: the provider's is the API's own.
const maxMachines = 10000

func (s *Places) hosts(p *v1alpha1.MachinePool, auth login) (sshhost.Config, error) {
	if auth.user == "" || auth.empty() {
		return sshhost.Config{}, fault.New(fault.Config, "pool %s: ssh hosts need login.user and login.secretName", p.Name).
			WithRemedy("Name a Secret in the controller's namespace with the key password or ssh-privatekey.")
	}
	if pr := p.Spec.Preparation; pr != nil && pr.DisablePasswordLogin && len(auth.keys) == 0 {
		return sshhost.Config{}, fault.New(fault.Config, "pool %s: preparation.disablePasswordLogin would lock the pool out of its hosts: its login is a password", p.Name).
			WithRemedy("Give the Secret of the login the key ssh-privatekey, whose public half is on the hosts.")
	}
	var c sshhost.Config
	for _, h := range p.Spec.Provider.SSH.Hosts {
		host := sshhost.Host{
			Name: h.Address, Slots: int(h.Slots), Root: h.Root, OS: p.Spec.OS, Arch: p.Spec.Arch,
			Login: sshhost.Login{
				Address: h.Address, Port: int(h.Port), User: auth.user, HostKeys: h.HostKeys,
				Password: auth.password, Keys: auth.keys,
			},
		}
		if len(h.HostKeys) == 0 {
			host.KnownHosts = []string{s.knownHosts(p)}
		}
		c.Hosts = append(c.Hosts, host)
	}
	return c, nil
}

// knownHosts is the file with the host keys that a pool's first contacts have shown.
func (s *Places) knownHosts(p *v1alpha1.MachinePool) string {
	return filepath.Join(s.place.State, "known_hosts", p.Name)
}

var _ provider.Provider = (*acquainted)(nil)
