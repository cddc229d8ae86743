package reach

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/crypto/ssh"

	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/machine"
)

// A namedKey is a key or certificate and what to call it in messages.
type namedKey struct {
	name   string
	signer ssh.Signer
}

// loadKeys reads the keys in memory and in files, each preceded by its
// certificates. A file that a person named and that cannot be used is an error
// even if another key would do: they meant it. A key file with a passphrase is
// used through the SSH agent if that holds it; nobody is ever asked.
func loadKeys(ctx context.Context, auth machine.Auth, w *ways) ([]namedKey, error) {
	certs, err := loadCerts(auth.CertFiles)
	if err != nil {
		return nil, err
	}
	var keys []namedKey
	add := func(name string, s ssh.Signer, certs []namedCert) error {
		for _, c := range certs {
			if !bytes.Equal(c.cert.Key.Marshal(), s.PublicKey().Marshal()) {
				continue
			}
			cs, err := ssh.NewCertSigner(c.cert, s)
			if err != nil {
				return fault.New(fault.Config, "certificate %s: %w", c.file, err)
			}
			keys = append(keys, namedKey{"certificate " + c.file, cs})
		}
		keys = append(keys, namedKey{fmt.Sprintf("%s (%s)", name, ssh.FingerprintSHA256(s.PublicKey())), s})
		return nil
	}
	for i, k := range auth.Keys {
		s, err := ssh.ParsePrivateKey([]byte(k.Reveal()))
		if err != nil {
			return nil, fault.New(fault.Config, "key %d in memory: %w", i+1, err)
		}
		if err := add("a key in memory", s, certs); err != nil {
			return nil, err
		}
	}
	for _, file := range auth.KeyFiles {
		s, err := readKey(ctx, file, auth.Agent, w)
		if err != nil {
			return nil, err
		}
		own, err := loadCerts([]string{file + "-cert.pub"})
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		if err := add("key "+file, s, append(own, certs...)); err != nil {
			return nil, err
		}
	}
	return keys, nil
}

// readKey reads a private key file.
func readKey(ctx context.Context, file string, useAgent bool, w *ways) (ssh.Signer, error) {
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, fault.New(fault.LocalFile, "key %s: %w", file, pathless(err)).
			WithRemedy("Check the keyFiles of the configuration.")
	}
	s, err := ssh.ParsePrivateKey(pem)
	var locked *ssh.PassphraseMissingError
	switch {
	case err == nil:
		return s, nil
	case !errors.As(err, &locked):
		return nil, fault.New(fault.Config, "key %s: %w", file, err).
			WithRemedy("Name a private key in OpenSSH or PEM format in keyFiles.")
	}
	if useAgent {
		if s := w.unlocked(ctx, publicHalf(file, locked)); s != nil {
			return s, nil
		}
	}
	return nil, fault.New(fault.Config, "key %s: has a passphrase, and Outrigger never asks for one: %w", file, err).
		WithRemedy("Give the key to the SSH agent (ssh-add %s) and set agent: true, or use a key without a passphrase.", file)
}

// publicHalf finds the public key of an encrypted private key, or nil.
func publicHalf(file string, locked *ssh.PassphraseMissingError) ssh.PublicKey {
	if locked.PublicKey != nil {
		return locked.PublicKey
	}
	line, err := os.ReadFile(file + ".pub")
	if err != nil {
		return nil
	}
	pub, _, _, _, err := ssh.ParseAuthorizedKey(line)
	if err != nil {
		return nil
	}
	return pub
}

// unlocked returns the agent's signer for pub, or nil.
func (w *ways) unlocked(ctx context.Context, pub ssh.PublicKey) ssh.Signer {
	if pub == nil {
		return nil
	}
	signers, err := w.agentSigners(ctx)
	if err != nil {
		return nil // the message about the passphrase says what to do
	}
	for _, s := range signers {
		if bytes.Equal(s.PublicKey().Marshal(), pub.Marshal()) {
			return s
		}
	}
	return nil
}

// A namedCert is an OpenSSH certificate and its file.
type namedCert struct {
	file string
	cert *ssh.Certificate
}

func loadCerts(files []string) ([]namedCert, error) {
	var certs []namedCert
	for _, file := range files {
		line, err := os.ReadFile(file)
		if err != nil {
			return nil, fault.New(fault.LocalFile, "certificate %s: %w", file, pathless(err))
		}
		pub, _, _, _, err := ssh.ParseAuthorizedKey(line)
		if err != nil {
			return nil, fault.New(fault.Config, "certificate %s: %w", file, err)
		}
		cert, ok := pub.(*ssh.Certificate)
		if !ok || cert.CertType != ssh.UserCert {
			return nil, fault.New(fault.Config, "certificate %s: holds a %s, want an OpenSSH user certificate", file, pub.Type())
		}
		certs = append(certs, namedCert{file, cert})
	}
	return certs, nil
}

// pathless takes the path out of an error whose text names it already.
func pathless(err error) error {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return pe.Err
	}
	return err
}
