//go:build unix

package sshd

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"outrigger.dev/outrigger/internal/machine"
)

// A Key is a key pair.
type Key struct {
	PEM    string // the private key in OpenSSH format
	Signer ssh.Signer
	raw    crypto.PrivateKey
}

// NewKey makes a key: "ed25519", "ecdsa" or "rsa".
func NewKey(tb testing.TB, kind string) *Key {
	tb.Helper()
	var raw crypto.PrivateKey
	var err error
	switch kind {
	case "ed25519":
		_, raw, err = ed25519.GenerateKey(rand.Reader)
	case "ecdsa":
		raw, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case "rsa":
		raw, err = rsa.GenerateKey(rand.Reader, 2048)
	default:
		tb.Fatalf("sshd: key of kind %q", kind)
	}
	if err != nil {
		tb.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(raw, "")
	if err != nil {
		tb.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(raw)
	if err != nil {
		tb.Fatal(err)
	}
	return &Key{PEM: string(pem.EncodeToMemory(block)), Signer: signer, raw: raw}
}

// Line returns the public half as it stands in authorized_keys.
func (k *Key) Line() string {
	return strings.TrimSpace(string(ssh.MarshalAuthorizedKey(k.Signer.PublicKey())))
}

// Secret returns the private half for [machine.Auth].
func (k *Key) Secret() machine.Secret { return machine.NewSecret(k.PEM) }

// Raw returns the private half as the SSH agent wants it.
func (k *Key) Raw() crypto.PrivateKey { return k.raw }

// Fingerprint returns what messages call the key.
func (k *Key) Fingerprint() string { return ssh.FingerprintSHA256(k.Signer.PublicKey()) }

// File writes the private half to a file in dir, with a passphrase if that is
// not empty, and returns the file's name.
func (k *Key) File(tb testing.TB, dir, passphrase string) string {
	tb.Helper()
	content := k.PEM
	if passphrase != "" {
		block, err := ssh.MarshalPrivateKeyWithPassphrase(k.raw, "", []byte(passphrase))
		if err != nil {
			tb.Fatal(err)
		}
		content = string(pem.EncodeToMemory(block))
	}
	f, err := os.CreateTemp(dir, "key-")
	if err != nil {
		tb.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString(content); err != nil {
		tb.Fatal(err)
	}
	return filepath.Clean(f.Name())
}

// Sign returns a certificate, valid for an hour, by which k vouches that
// subject is one of principals.
func (k *Key) Sign(tb testing.TB, subject *Key, kind uint32, principals ...string) string {
	tb.Helper()
	cert := &ssh.Certificate{
		Key:             subject.Signer.PublicKey(),
		CertType:        kind,
		ValidPrincipals: principals,
		ValidAfter:      uint64(time.Now().Add(-time.Minute).Unix()),
		ValidBefore:     uint64(time.Now().Add(time.Hour).Unix()),
		Permissions:     ssh.Permissions{},
	}
	if kind == ssh.UserCert {
		cert.Extensions = map[string]string{"permit-pty": "", "permit-port-forwarding": ""}
	}
	if err := cert.SignCert(rand.Reader, k.Signer); err != nil {
		tb.Fatal(err)
	}
	return string(ssh.MarshalAuthorizedKey(cert))
}
