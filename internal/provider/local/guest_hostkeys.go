//go:build linux || darwin

package local

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync"

	"golang.org/x/crypto/ssh"
)

// A Mac's sshd has a host key of each kind, and clients are not asked which they prefer: older ones know RSA
// alone. The ed25519 key is made with the machine, see [OpenGuest].

// rsaBits is what ssh-keygen makes.
const rsaBits = 3072

// hostKeys are those that a guest shows.
func (f *folder) hostKeys() ([]ssh.Signer, error) {
	first, err := f.hostKey("host_key", nil)
	if err != nil {
		return nil, err
	}
	second, err := f.hostKey("host_key_ecdsa", func() (crypto.PrivateKey, error) {
		return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	})
	if err != nil {
		return nil, err
	}
	return []ssh.Signer{first, second, &lateRSA{f: f}}, nil
}

// hostKey reads a key of the machine, or makes it if it is not there and that is wanted.
func (f *folder) hostKey(name string, fresh func() (crypto.PrivateKey, error)) (ssh.Signer, error) {
	b, err := os.ReadFile(f.path(name))
	if errors.Is(err, fs.ErrNotExist) && fresh != nil {
		key, err := fresh()
		if err != nil {
			return nil, err
		}
		block, err := ssh.MarshalPrivateKey(key, "")
		if err != nil {
			return nil, err
		}
		b = pem.EncodeToMemory(block)
		if err := os.WriteFile(f.path(name), b, 0o600); err != nil {
			return nil, err
		}
	} else if err != nil {
		return nil, err
	}
	return ssh.ParsePrivateKey(b)
}

// lateRSA is an RSA host key that is made when the first client wants one: that takes a computer longer than all
// else that a machine costs, and few clients do.
type lateRSA struct {
	f *folder

	once   sync.Once
	signer ssh.AlgorithmSigner
	err    error
}

func (k *lateRSA) make() (ssh.AlgorithmSigner, error) {
	k.once.Do(func() {
		s, err := k.f.hostKey("host_key_rsa", func() (crypto.PrivateKey, error) {
			return rsa.GenerateKey(rand.Reader, rsaBits)
		})
		if k.err = err; err != nil {
			return
		}
		var ok bool
		if k.signer, ok = s.(ssh.AlgorithmSigner); !ok {
			k.err = fmt.Errorf("host_key_rsa is a key of type %s", s.PublicKey().Type())
		}
	})
	return k.signer, k.err
}

// PublicKey implements [ssh.Signer].
func (k *lateRSA) PublicKey() ssh.PublicKey { return lateRSAPublic{k} }

// Sign implements [ssh.Signer].
func (k *lateRSA) Sign(random io.Reader, data []byte) (*ssh.Signature, error) {
	return k.SignWithAlgorithm(random, data, ssh.KeyAlgoRSA)
}

// SignWithAlgorithm implements [ssh.AlgorithmSigner].
func (k *lateRSA) SignWithAlgorithm(random io.Reader, data []byte, algorithm string) (*ssh.Signature, error) {
	s, err := k.make()
	if err != nil {
		return nil, err
	}
	return s.SignWithAlgorithm(random, data, algorithm)
}

type lateRSAPublic struct{ k *lateRSA }

// Type implements [ssh.PublicKey]: all that a handshake asks of a key that it does not choose.
func (p lateRSAPublic) Type() string { return ssh.KeyAlgoRSA }

// Marshal implements [ssh.PublicKey]. Without a key it returns nothing, which no client accepts.
func (p lateRSAPublic) Marshal() []byte {
	s, err := p.k.make()
	if err != nil {
		return nil
	}
	return s.PublicKey().Marshal()
}

// Verify implements [ssh.PublicKey].
func (p lateRSAPublic) Verify(data []byte, sig *ssh.Signature) error {
	s, err := p.k.make()
	if err != nil {
		return err
	}
	return s.PublicKey().Verify(data, sig)
}
