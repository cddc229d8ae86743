package places

import (
	"context"
	"errors"
	"fmt"
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
	"outrigger.dev/outrigger/internal/reach/via"
)

// hostKeys is a known_hosts file to which the first contact with a host adds the key that it shows: trust on first
// use. From then on a host that shows another key is refused.
type hostKeys struct {
	file string
	dial via.DialFunc // nil: TCP

	mu sync.Mutex // held while the file is read or written, never during a contact
}

// contact bounds the first contact with one host.
const contact = 10 * time.Second

// learn sees to it that the file has a key of the host. The provider calls it for each host by itself, when it is
// about to log in there: a host that does not answer holds up no other.
func (k *hostKeys) learn(ctx context.Context, address string) error {
	known, err := k.of(address)
	if err != nil || len(known) > 0 {
		return err
	}
	key, err := k.ask(ctx, address)
	if err != nil {
		return fault.New(fault.Unreachable, "first contact with %s: %w", address, err)
	}
	return k.add(address, key)
}

// of returns the host's keys, in authorized_keys format.
func (k *hostKeys) of(address string) ([]string, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	data, err := os.ReadFile(k.file)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fault.New(fault.LocalFile, "known hosts: %w", err)
	}
	want := knownhosts.Normalize(address)
	var keys []string
	for line := range strings.Lines(string(data)) {
		if name, key, ok := strings.Cut(strings.TrimSpace(line), " "); ok && name == want {
			keys = append(keys, key)
		}
	}
	return keys, nil
}

// add appends a line to the file.
func (k *hostKeys) add(address string, key ssh.PublicKey) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if err := os.MkdirAll(filepath.Dir(k.file), 0o700); err != nil {
		return fault.New(fault.LocalFile, "known hosts: %w", err)
	}
	f, err := os.OpenFile(k.file, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return fault.New(fault.LocalFile, "known hosts: %w", err)
	}
	_, err = f.WriteString(knownhosts.Line([]string{knownhosts.Normalize(address)}, key) + "\n")
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fault.New(fault.LocalFile, "known hosts: %w", err)
	}
	return nil
}

var errSeen = errors.New("seen")

// ask returns the key that a host shows. Nothing is sent to it.
func (k *hostKeys) ask(ctx context.Context, address string) (ssh.PublicKey, error) {
	ctx, cancel := context.WithTimeout(ctx, contact)
	defer cancel()
	dial := k.dial
	if dial == nil {
		dial = new(net.Dialer).DialContext
	}
	conn, err := dial(ctx, "tcp", address)
	if err != nil {
		return nil, whyEnded(ctx, err)
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
		HostKeyAlgorithms: []string{
			ssh.KeyAlgoED25519, ssh.KeyAlgoECDSA256, ssh.KeyAlgoECDSA384, ssh.KeyAlgoECDSA521,
			ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256,
		},
	})
	if seen == nil {
		return nil, whyEnded(ctx, err)
	}
	return seen, nil
}

// whyEnded prefers the caller's reason for giving up to what that did to the connection.
func whyEnded(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, context.DeadlineExceeded) {
		return cause
	}
	if ctx.Err() != nil {
		return fmt.Errorf("no answer within %s: %w", contact, err)
	}
	return err
}

// pinned says of the machines of a provider which keys their hosts may show, so that whoever gets the endpoint
// needs no file.
type pinned struct {
	provider.Provider
	keys *hostKeys
}

// Unwrap serves [provider.As].
func (p *pinned) Unwrap() provider.Provider { return p.Provider }

func (p *pinned) Create(ctx context.Context, spec machine.Spec) (machine.Machine, error) {
	m, err := p.Provider.Create(ctx, spec)
	return p.pin(m), err
}

func (p *pinned) Get(ctx context.Context, name machine.Name) (machine.Machine, error) {
	m, err := p.Provider.Get(ctx, name)
	return p.pin(m), err
}

func (p *pinned) List(ctx context.Context, owner machine.Owner) ([]machine.Machine, error) {
	all, err := p.Provider.List(ctx, owner)
	for i := range all {
		all[i] = p.pin(all[i])
	}
	return all, err
}

func (p *pinned) pin(m machine.Machine) machine.Machine {
	if len(m.Endpoint.HostKeys) > 0 || m.Endpoint.Host == "" {
		return m
	}
	keys, err := p.keys.of(m.Endpoint.Address())
	if err != nil {
		return m // then nothing is pinned, and a connection is refused
	}
	m.Endpoint.HostKeys, m.Endpoint.KnownHosts = keys, nil
	return m
}
