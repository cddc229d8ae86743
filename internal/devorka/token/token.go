// Package token makes and checks the tokens of a cluster: JSON Web Tokens as
// Kubernetes issues them to service accounts, with a real exp claim.
package token

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"os"
	"strings"
	"sync"
	"time"
)

// Issuer is the iss claim, that of a Kubernetes cluster with default settings.
const Issuer = "https://kubernetes.default.svc.cluster.local"

// Claims are what a token says.
type Claims struct {
	Audience   []string   `json:"aud,omitempty"`
	Expires    int64      `json:"exp,omitempty"` // 0: never
	IssuedAt   int64      `json:"iat"`
	Issuer     string     `json:"iss"`
	ID         string     `json:"jti"`
	NotBefore  int64      `json:"nbf"`
	Subject    string     `json:"sub"`
	Kubernetes Kubernetes `json:"kubernetes.io"`
}

// Kubernetes is the private claim that names the service account.
type Kubernetes struct {
	Namespace      string `json:"namespace"`
	ServiceAccount Named  `json:"serviceaccount"`
}

// Named is a name and the identity of what bears it.
type Named struct {
	Name string `json:"name"`
	UID  string `json:"uid"`
}

// User is the name that a service account has as a user.
func User(namespace, name string) string { return "system:serviceaccount:" + namespace + ":" + name }

// A Signer signs the tokens of one cluster.
type Signer struct {
	path string
	mu   sync.Mutex
	key  *ecdsa.PrivateKey
	id   string
}

// Open reads the signing key, or makes one. With an empty path it is nowhere kept.
func Open(path string) (*Signer, error) {
	s := &Signer{path: path}
	if path == "" {
		return s, s.Rotate()
	}
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return s, s.Rotate()
	}
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(b)
	if block == nil {
		return nil, fmt.Errorf("%s: no PEM block", path)
	}
	key, err := x509.ParseECPrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return s, s.use(key)
}

// Rotate makes a new key: every token issued before is void, as after some
// upgrades of Orka.
func (s *Signer) Rotate() error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	if s.path != "" {
		der, err := x509.MarshalECPrivateKey(key)
		if err != nil {
			return err
		}
		if err := os.WriteFile(s.path, pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}), 0o600); err != nil {
			return err
		}
	}
	return s.use(key)
}

func (s *Signer) use(key *ecdsa.PrivateKey) error {
	public, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		return err
	}
	sum := sha256.Sum256(public)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.key, s.id = key, base64.RawURLEncoding.EncodeToString(sum[:])
	return nil
}

// Issue signs a token for a service account; ttl 0 is for ever.
func (s *Signer) Issue(namespace, name, uid string, ttl time.Duration, now time.Time) (string, Claims, error) {
	var id [16]byte
	_, _ = rand.Read(id[:]) // crypto/rand.Read never fails: it crashes the program instead
	c := Claims{
		Audience: []string{Issuer}, IssuedAt: now.Unix(), NotBefore: now.Unix(), Issuer: Issuer, ID: hex.EncodeToString(id[:]),
		Subject:    User(namespace, name),
		Kubernetes: Kubernetes{Namespace: namespace, ServiceAccount: Named{name, uid}},
	}
	if ttl > 0 {
		c.Expires = c.IssuedAt + int64((ttl+time.Second-1)/time.Second) // in whole seconds, as all of them
	}
	s.mu.Lock()
	key, kid := s.key, s.id
	s.mu.Unlock()
	head, err := json.Marshal(map[string]string{"alg": "ES256", "kid": kid})
	if err != nil {
		return "", c, err
	}
	body, err := json.Marshal(c)
	if err != nil {
		return "", c, err
	}
	text := encode(head) + "." + encode(body)
	sum := sha256.Sum256([]byte(text))
	r, v, err := ecdsa.Sign(rand.Reader, key, sum[:])
	if err != nil {
		return "", c, err
	}
	var sig [64]byte
	r.FillBytes(sig[:32])
	v.FillBytes(sig[32:])
	return text + "." + encode(sig[:]), c, nil
}

// Check returns what a token says if it is ours and its time has not passed.
func (s *Signer) Check(text string, now time.Time) (Claims, error) {
	parts := strings.Split(text, ".")
	if len(parts) != 3 {
		return Claims{}, errors.New("not a token")
	}
	sig, err := base64.RawURLEncoding.DecodeString(parts[2])
	if err != nil || len(sig) != 64 {
		return Claims{}, errors.New("bad signature")
	}
	s.mu.Lock()
	key := s.key.PublicKey
	s.mu.Unlock()
	sum := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	if !ecdsa.Verify(&key, sum[:], new(big.Int).SetBytes(sig[:32]), new(big.Int).SetBytes(sig[32:])) {
		return Claims{}, errors.New("not signed by this cluster")
	}
	body, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return Claims{}, err
	}
	var c Claims
	if err := json.Unmarshal(body, &c); err != nil {
		return Claims{}, err
	}
	if c.Expires != 0 && now.Unix() >= c.Expires {
		return c, fmt.Errorf("expired at %s", time.Unix(c.Expires, 0).UTC().Format(time.RFC3339))
	}
	return c, nil
}

func encode(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }
