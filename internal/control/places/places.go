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
	"outrigger.dev/outrigger/internal/machine"
	"outrigger.dev/outrigger/internal/origin"
	"outrigger.dev/outrigger/internal/provider"
	"outrigger.dev/outrigger/internal/provider/all"
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

// LeasesWith has the slots of hosts be taken with keys that are derived from secret: who has a claim on such a host
// can then neither give back nor see the leases that stand for slots.
func (s *Places) LeasesWith(secret machine.Secret) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.place.Secret = secret
	clear(s.open)
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
	auth, err := origin.LoginOf(p, secret)
	if err != nil {
		return pools.Place{}, err
	}
	where := s.place
	where.Log = where.Log.With("pool", p.Name)
	config, err := origin.Config(p, auth, access, s.knownHosts(p))
	if err != nil {
		return pools.Place{}, err
	}
	way, err := s.wayTo(p)
	if err != nil {
		return pools.Place{}, err
	}
	where.Dial = way.dial
	keys := &hostKeys{file: s.knownHosts(p), dial: way.dial}
	hosts, lasting := config.(sshhost.Config)
	if lasting {
		hosts.Learn = keys.learn
		config = hosts
	}
	opened, err := all.Open(p.Name, config, where)
	if err != nil {
		return pools.Place{}, err
	}
	out := pools.Place{Provider: limit(opened)}
	if lasting {
		out.Lasting = true
		out.Provider = &pinned{Provider: out.Provider, keys: keys}
	}
	out.Adopt = func(ep machine.Endpoint) machine.Endpoint {
		if auth.User != "" {
			ep.User = auth.User
		}
		if !auth.Empty() {
			ep.Auth = machine.Auth{Keys: auth.Keys, Password: auth.Password}
		}
		return way.tell(ep)
	}
	return out, nil
}

// knownHosts is the file with the host keys that a pool's first contacts have shown.
func (s *Places) knownHosts(p *v1alpha1.MachinePool) string {
	return filepath.Join(s.place.State, "known_hosts", p.Name)
}

var _ provider.Provider = (*pinned)(nil)
