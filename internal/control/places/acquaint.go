package places

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"

	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/machine"
	"outrigger.dev/outrigger/internal/provider"
	"outrigger.dev/outrigger/internal/provider/sshhost"
	"outrigger.dev/outrigger/internal/reach/via"
)

// acquainted learns the keys of hosts at the first contact, and writes them into a
// known_hosts file: from then on a host that shows another key is refused.
type acquainted struct {
	provider.Provider
	hosts []sshhost.Host
	dial  via.DialFunc // nil: TCP
	file  string

	mu    sync.Mutex
	knows map[string]bool // hosts whose key is in the file
}

// Unwrap serves [provider.As].
func (a *acquainted) Unwrap() provider.Provider { return a.Provider }

func (a *acquainted) Create(ctx context.Context, spec machine.Spec) (machine.Machine, error) {
	if err := a.meet(ctx); err != nil {
		return machine.Machine{}, err
	}
	m, err := a.Provider.Create(ctx, spec)
	return a.pin(m), err
}

func (a *acquainted) Get(ctx context.Context, name machine.Name) (machine.Machine, error) {
	if err := a.meet(ctx); err != nil {
		return machine.Machine{}, err
	}
	m, err := a.Provider.Get(ctx, name)
	return a.pin(m), err
}

func (a *acquainted) List(ctx context.Context, owner machine.Owner) ([]machine.Machine, error) {
	if err := a.meet(ctx); err != nil {
		return nil, err
	}
	all, err := a.Provider.List(ctx, owner)
	for i := range all {
		all[i] = a.pin(all[i])
	}
	return all, err
}

func (a *acquainted) Delete(ctx context.Context, name machine.Name) error {
	if err := a.meet(ctx); err != nil {
		return err
	}
	return a.Provider.Delete(ctx, name)
}

// contact bounds the first contact with one host.
const contact = 10 * time.Second

// meet asks the hosts that nobody knows for their keys. A host that does not answer
// stays unknown; the provider then says so.
func (a *acquainted) meet(ctx context.Context) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.knows == nil {
		known, err := a.read()
		if err != nil {
			return err
		}
		a.knows = known
	}
	var wg sync.WaitGroup
	keys := make([]ssh.PublicKey, len(a.hosts))
	for i, h := range a.hosts {
		if len(h.HostKeys) == 0 && !a.knows[addressOf(h)] {
			wg.Go(func() { keys[i] = a.firstKey(ctx, addressOf(h)) })
		}
	}
	wg.Wait()
	var lines strings.Builder
	for i, k := range keys {
		if k != nil {
			lines.WriteString(knownhosts.Line([]string{knownhosts.Normalize(addressOf(a.hosts[i]))}, k) + "\n")
		}
	}
	if lines.Len() == 0 {
		return nil
	}
	if err := a.write(lines.String()); err != nil {
		return fault.New(fault.LocalFile, "known hosts: %w", err)
	}
	for i, k := range keys {
		if k != nil {
			a.knows[addressOf(a.hosts[i])] = true
		}
	}
	return nil
}

func addressOf(h sshhost.Host) string {
	return machine.Endpoint{Host: h.Address, Port: h.Port}.Address()
}

// read returns the hosts of the file.
func (a *acquainted) read() (map[string]bool, error) {
	data, err := os.ReadFile(a.file)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fault.New(fault.LocalFile, "known hosts: %w", err)
	}
	in := map[string]bool{}
	for line := range strings.Lines(string(data)) {
		names, _, _ := strings.Cut(line, " ")
		in[names] = true
	}
	known := map[string]bool{}
	for _, h := range a.hosts {
		known[addressOf(h)] = in[knownhosts.Normalize(addressOf(h))]
	}
	return known, nil
}

func (a *acquainted) write(lines string) error {
	if err := os.MkdirAll(filepath.Dir(a.file), 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(a.file, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteString(lines)
	return errors.Join(err, f.Sync(), f.Close())
}

var errSeen = errors.New("seen")

// firstKey returns the key that a host shows, or nil. Nothing is sent to it.
func (a *acquainted) firstKey(ctx context.Context, address string) ssh.PublicKey {
	ctx, cancel := context.WithTimeout(ctx, contact)
	defer cancel()
	dial := a.dial
	if dial == nil {
		dial = new(net.Dialer).DialContext
	}
	conn, err := dial(ctx, "tcp", address)
	if err != nil {
		return nil
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	var seen ssh.PublicKey
	_, _, _, err = ssh.NewClientConn(conn, address, &ssh.ClientConfig{
		HostKeyCallback: func(_ string, _ net.Addr, key ssh.PublicKey) error {
			seen = key
			return errSeen
		},
		// The order in which package reach asks an unknown host for keys.
		HostKeyAlgorithms: []string{ssh.KeyAlgoED25519, ssh.KeyAlgoECDSA256, ssh.KeyAlgoECDSA384, ssh.KeyAlgoECDSA521, ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256},
	})
	if err == nil || seen == nil {
		return nil
	}
	return seen
}

// pin says of a machine which keys its host may show, so that whoever gets the
// endpoint needs no file.
func (a *acquainted) pin(m machine.Machine) machine.Machine {
	if len(m.Endpoint.HostKeys) > 0 || m.Endpoint.Host == "" {
		return m
	}
	data, err := os.ReadFile(a.file)
	if err != nil {
		return m // then nothing is pinned, and a connection is refused
	}
	want := knownhosts.Normalize(m.Endpoint.Address())
	for line := range strings.Lines(string(data)) {
		if names, key, ok := strings.Cut(strings.TrimSpace(line), " "); ok && names == want {
			m.Endpoint.HostKeys = append(m.Endpoint.HostKeys, key)
		}
	}
	m.Endpoint.KnownHosts = nil
	return m
}
