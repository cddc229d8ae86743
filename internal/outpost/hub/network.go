package hub

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"outrigger.dev/outrigger/internal/config/strict"
	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/machine"
	"outrigger.dev/outrigger/internal/outpost/allow"
	"outrigger.dev/outrigger/internal/outpost/creds"
	"outrigger.dev/outrigger/internal/reach"
	"outrigger.dev/outrigger/internal/reach/via"
)

// A network is where a hub can connect. Without a dial function of its own it is
// reached through outposts.
type network struct {
	allow allow.List // what clients may ask for; empty: what their passes say
	dial  via.DialFunc
	close func() // what dial holds; nil: nothing
}

// networksFile is networks.yaml:
//
//	networks:
//	  lab:
//	    allow: ["10.9.0.0/16:22"]
//	    via:
//	      - wireguard: lab.conf       # files lie in the hub's folder
//	  rack:
//	    jump:
//	      - {address: gate.example.com, user: hub, keyFile: gate.key, hostKeys: ["ssh-ed25519 AAAA…"]}
type networksFile struct {
	Networks map[string]networkEntry `yaml:"networks"`
}

type networkEntry struct {
	Allow []string   `yaml:"allow"`
	Via   []via.Step `yaml:"via"`
	Jump  []jump     `yaml:"jump"`
}

// A jump is an SSH host that is passed after the vias.
type jump struct {
	Address      string   `yaml:"address"`
	Port         int      `yaml:"port"`
	User         string   `yaml:"user"`
	KeyFile      string   `yaml:"keyFile"`
	PasswordFile string   `yaml:"passwordFile"`
	HostKeys     []string `yaml:"hostKeys"`
}

func parseNetworks(file string, data []byte, tunnels via.Tunnels) (map[string]*network, error) {
	var f networksFile
	doc := strict.Decode(data, &f)
	networks := map[string]*network{}
	for name, e := range f.Networks {
		at := strict.Path("networks").Key(name)
		if err := creds.CheckLabel("network", name); err != nil {
			doc.Report(at, "%s", err)
			continue
		}
		n, err := e.open(filepath.Dir(file), tunnels)
		if err != nil {
			doc.Report(at, "network %s: %s", name, err)
		}
		networks[name] = n
	}
	if len(doc.Problems) == 0 {
		return networks, nil
	}
	lines := make([]string, len(doc.Problems))
	for i, p := range doc.Problems {
		lines[i] = p.Text
	}
	return nil, fault.New(fault.Config, "hub: %s: %s", file, strings.Join(lines, "; "))
}

func (e networkEntry) open(dir string, tunnels via.Tunnels) (*network, error) {
	list, err := allow.Parse(e.Allow)
	if err != nil {
		return nil, err
	}
	n := &network{allow: list}
	if len(e.Via)+len(e.Jump) == 0 {
		return n, nil
	}
	read := func(name string) (string, error) {
		if name == "" {
			return "", nil
		}
		if !filepath.IsAbs(name) {
			name = filepath.Join(dir, name)
		}
		data, err := os.ReadFile(name)
		return string(data), err
	}
	for i := range e.Via {
		if err := fill(&e.Via[i], read); err != nil {
			return nil, err
		}
	}
	n.dial, err = via.Through(new(net.Dialer).DialContext, via.Vias(e.Via), tunnels)
	if err != nil || len(e.Jump) == 0 {
		return n, err
	}
	var hops []machine.Endpoint
	for _, j := range e.Jump {
		hop, err := j.endpoint(read)
		if err != nil {
			return nil, err
		}
		hops = append(hops, hop)
	}
	last := len(hops) - 1
	to := hops[last]
	to.Jumps, to.Via = hops[:last], via.Vias(e.Via)
	j := &jumper{to: to, opts: reach.Options{Tunnels: tunnels}}
	n.dial, n.close = j.dial, j.Close
	return n, nil
}

// fill reads the files that a step names.
func fill(s *via.Step, read func(string) (string, error)) (err error) {
	if err := s.Check(); err != nil {
		return err
	}
	if s.PasswordEnv != "" || len(s.PasswordCommand) > 0 {
		return errors.New("a hub reads passwords from files only: want passwordFile")
	}
	password, err := read(s.PasswordFile)
	if err != nil {
		return err
	}
	tunnel, err := read(s.WireGuard)
	if err != nil {
		return err
	}
	s.Password, s.Tunnel = machine.NewSecret(strings.TrimRight(password, "\r\n")), machine.NewSecret(tunnel)
	s.CA, err = read(s.CAFile)
	return err
}

func (j jump) endpoint(read func(string) (string, error)) (machine.Endpoint, error) {
	if j.Address == "" || j.User == "" || len(j.HostKeys) == 0 || j.KeyFile == "" && j.PasswordFile == "" {
		return machine.Endpoint{}, errors.New("a jump host needs address, user, hostKeys, and keyFile or passwordFile")
	}
	ep := machine.Endpoint{Host: j.Address, Port: j.Port, User: j.User, HostKeys: j.HostKeys}
	key, err := read(j.KeyFile)
	if err != nil {
		return ep, err
	}
	if key != "" {
		ep.Auth.Keys = []machine.Secret{machine.NewSecret(key)}
	}
	password, err := read(j.PasswordFile)
	ep.Auth.Password = machine.NewSecret(strings.TrimRight(password, "\r\n"))
	return ep, err
}

// A jumper keeps one SSH connection to a jump host, and dials through it.
type jumper struct {
	to   machine.Endpoint
	opts reach.Options

	mu     sync.Mutex // held while dialling, so that there is one connection
	client *reach.Client
}

func (j *jumper) dial(ctx context.Context, network, address string) (net.Conn, error) {
	client, err := j.connect(ctx)
	if err != nil {
		return nil, err
	}
	return client.DialContext(ctx, network, address)
}

func (j *jumper) connect(ctx context.Context) (*reach.Client, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.client != nil {
		select {
		case <-j.client.Done():
		default:
			return j.client, nil
		}
	}
	var err error
	j.client, err = reach.Dial(ctx, j.to, j.opts)
	return j.client, err
}

// Close ends the connection.
func (j *jumper) Close() {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.client != nil {
		j.client.Close()
	}
}

// closeWays ends what networks hold.
func closeWays(networks map[string]*network) {
	for _, n := range networks {
		if n != nil && n.close != nil {
			n.close()
		}
	}
}
