package qemu

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"fmt"
	"os"
	"time"

	"golang.org/x/crypto/ssh"

	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/provider/qemu/guest"
)

// personify writes the machine's personality and our key to it, and returns
// its host key.
func (p *Provider) personify(v vm, r record) (hostKey string, err error) {
	hostPublic, host, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return "", fault.New(fault.Internal, "qemu: host key: %w", err)
	}
	loginPublic, login, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return "", fault.New(fault.Internal, "qemu: login key: %w", err)
	}
	block, err := ssh.MarshalPrivateKey(login, string(r.Name))
	if err != nil {
		return "", fault.New(fault.Internal, "qemu: login key: %w", err)
	}
	if err := os.WriteFile(v.path(loginFile), pem.EncodeToMemory(block), 0o600); err != nil {
		return "", localFile(err)
	}
	who := guest.Personality{HostName: string(r.Name), Now: time.Now()}
	_, _ = rand.Read(who.Seed[:]) // crypto/rand.Read never fails: it crashes the program instead
	_, _ = rand.Read(who.MAC[:])
	who.MAC[0] = who.MAC[0]&^1 | 2 // one machine's, given by nobody
	var id [16]byte
	_, _ = rand.Read(id[:])
	who.Files = []guest.File{
		{Path: guest.HostKeyPath, Mode: 0o600, Content: guest.HostKey(host)},
		{Path: "/root/.ssh/authorized_keys", Mode: 0o600, Content: []byte(authorized(loginPublic))},
		{Path: "/etc/machine-id", Mode: 0o444, Content: fmt.Appendf(nil, "%x\n", id)},
		{Path: "/etc/hostname", Mode: 0o644, Content: []byte(r.Name + "\n")},
		{Path: "/etc/hosts", Mode: 0o644, Content: fmt.Appendf(nil, "127.0.0.1 localhost\n127.0.1.1 %s\n::1 localhost\n", r.Name)},
		{Path: "/etc/resolv.conf", Mode: 0o644, Content: []byte("nameserver 10.0.2.3\n")},
	}
	disk, err := who.Encode()
	if err != nil {
		return "", fault.New(fault.Internal, "qemu: %w", err)
	}
	return authorized(hostPublic), localFile(os.WriteFile(v.path(personalityFile), disk, 0o600))
}

// authorized returns key in the format of authorized_keys.
func authorized(key ed25519.PublicKey) string {
	public, err := ssh.NewPublicKey(key)
	if err != nil {
		panic(err) // no ed25519 key is refused
	}
	b := ssh.MarshalAuthorizedKey(public)
	return string(b[:len(b)-1])
}
