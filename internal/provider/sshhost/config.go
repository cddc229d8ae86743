package sshhost

import (
	"context"
	"maps"
	"net"
	"os"
	"os/user"
	"strings"

	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/machine"
	"outrigger.dev/outrigger/internal/reach"
)

// Config is a list of hosts that exist already.
type Config struct {
	Hosts []Host `yaml:"hosts"`

	// Dial connects to the hosts, or to their first jump hosts; nil: TCP.
	Dial func(ctx context.Context, network, address string) (net.Conn, error) `yaml:"-"`
	// Learn is called before each login to a host without HostKeys, with its host and port: it can put the key that
	// the host shows into KnownHosts. An error is why the host cannot be entered. nil: nothing is learned.
	Learn func(ctx context.Context, address string) error `yaml:"-"`
	// Secret is what the keys of leases are derived from, see [machine.LeaseKey]. None: whoever gets to the
	// agent of a host may list and release our leases there.
	Secret machine.Secret `yaml:"-"`
}

// A Host is one computer with room for Slots machines at a time.
type Host struct {
	Name   string            `yaml:"name"`  // "": the address
	Slots  int               `yaml:"slots"` // 0 means 1
	Root   string            `yaml:"root"`  // see [machine.Endpoint.Root]
	OS     string            `yaml:"os"`    // shown to people, as a label; the agent finds out by itself
	Arch   string            `yaml:"arch"`
	Labels map[string]string `yaml:"labels"`
	Login  `yaml:",inline"`
	Jump   []Login `yaml:"jump"` // passed in order
}

// A Login says where a host is and how to log in. Without any key, agent or
// password the user's own are tried: the agent at SSH_AUTH_SOCK and the
// default key files in ~/.ssh. Without host keys and known hosts, the user's own
// known_hosts file counts.
type Login struct {
	Address    string   `yaml:"address"`
	Port       int      `yaml:"port"` // 0 means 22
	User       string   `yaml:"user"` // "": the name of the user here
	KeyFiles   []string `yaml:"keyFiles"`
	CertFiles  []string `yaml:"certFiles"`
	Agent      bool     `yaml:"agent"`
	HostKeys   []string `yaml:"hostKeys"` // "ssh-ed25519 AAAA…"
	KnownHosts []string `yaml:"knownHosts"`

	// At most one of these; package config reads it into Password.
	PasswordFile    string   `yaml:"passwordFile"`
	PasswordEnv     string   `yaml:"passwordEnv"`
	PasswordCommand []string `yaml:"passwordCommand"`

	Password machine.Secret   `yaml:"-"`
	Keys     []machine.Secret `yaml:"-"` // PEM private keys, from callers that hold them in memory

	knownAs string // HostKeyAlias of ~/.ssh/config
}

// A host is a [Host] with everything filled in.
type host struct {
	name     string
	slots    int
	labels   map[string]string
	endpoint machine.Endpoint
}

// hosts checks the configuration and fills in what it leaves open.
func (c Config) hosts() ([]host, error) {
	if len(c.Hosts) == 0 {
		return nil, fault.New(fault.Config, "ssh: lists no hosts")
	}
	seen := map[string]bool{}
	var all []host
	for i, h := range c.Hosts {
		if h.Address == "" {
			return nil, fault.New(fault.Config, "ssh: host %d: has no address", i+1)
		}
		name := h.Name
		if name == "" {
			name = h.Address
		}
		if seen[name] {
			return nil, fault.New(fault.Config, "ssh: host %s: is listed twice", name)
		}
		seen[name] = true
		if err := checkAddress("host "+name, h.Address); err != nil {
			return nil, err
		}
		if h.Slots < 0 {
			return nil, fault.New(fault.Config, "ssh: host %s: %d slots: want at least 1", name, h.Slots)
		}
		ep, jumps, err := h.endpoint()
		if err != nil {
			return nil, err
		}
		ep.Root = h.Root
		ep.LeaseKey = machine.LeaseKey(c.Secret, "host "+ep.User+"@"+ep.Address())
		if len(h.Jump) > 0 {
			jumps = nil // what the configuration says counts, not ~/.ssh/config
		}
		for _, j := range h.Jump {
			if j.Address == "" {
				return nil, fault.New(fault.Config, "ssh: host %s: a jump host has no address", name)
			}
			if err := checkAddress("jump host of "+name, j.Address); err != nil {
				return nil, err
			}
			jump, more, err := j.endpoint()
			if err != nil {
				return nil, err
			}
			jumps = append(append(jumps, more...), jump)
		}
		ep.Jumps = jumps
		labels := map[string]string{"host": name}
		maps.Copy(labels, h.Labels)
		if h.OS != "" {
			labels["os"] = h.OS
		}
		if h.Arch != "" {
			labels["arch"] = h.Arch
		}
		all = append(all, host{name: name, slots: max(1, h.Slots), labels: labels, endpoint: ep})
	}
	return all, nil
}

// endpoint says the same in the words of package reach, with the jump hosts of ~/.ssh/config.
func (l Login) endpoint() (_ machine.Endpoint, jumps []machine.Endpoint, err error) {
	home, err := os.UserHomeDir()
	if err != nil {
		return machine.Endpoint{}, nil, fault.New(fault.Config, "ssh: host %s: the home folder that holds ~/.ssh: %w", l.Address, err)
	}
	if err := reach.CheckPins("ssh: host "+l.Address, l.HostKeys); err != nil {
		return machine.Endpoint{}, nil, err
	}
	l, hops, err := l.resolve(home)
	if err != nil {
		return machine.Endpoint{}, nil, err
	}
	for _, hop := range hops {
		ep, _, err := hop.endpoint() // resolved already
		if err != nil {
			return machine.Endpoint{}, nil, err
		}
		jumps = append(jumps, ep)
	}
	ep := machine.Endpoint{
		Host: l.Address, Port: l.Port, User: l.User,
		HostKeys: l.HostKeys, KnownHosts: l.KnownHosts, KnownAs: l.knownAs,
		Auth: machine.Auth{Keys: l.Keys, KeyFiles: l.KeyFiles, CertFiles: l.CertFiles, Agent: l.Agent, Password: l.Password},
	}
	if ep.User == "" {
		u, err := user.Current()
		if err != nil {
			return machine.Endpoint{}, nil, fault.New(fault.Config, "ssh: host %s: no user given, and this process has none: %w", l.Address, err).
				WithRemedy("Give the host a user: user: ci")
		}
		_, name, ok := strings.Cut(u.Username, `\`) // Windows puts the domain before it
		if !ok {
			name = u.Username
		}
		ep.User = name
	}
	if len(l.Keys)+len(l.KeyFiles) == 0 && !l.Agent && l.Password.Empty() {
		ep.Auth = reach.DefaultAuth(home)
		ep.Auth.CertFiles = l.CertFiles
	}
	if len(l.HostKeys) == 0 && len(l.KnownHosts) == 0 {
		ep.KnownHosts = reach.DefaultKnownHosts(home)
	}
	return ep, jumps, nil
}
