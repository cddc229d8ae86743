package creds

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"strings"
	"time"

	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/machine"
)

// A Pass lets its bearer ask a hub for connections to some addresses of one
// network. It is a JSON Web Token (RFC 7519) signed with Ed25519.
type Pass struct {
	Network string    // a network of the hub
	To      []string  // addresses as package allow writes them
	For     string    // whom it was made for: a machine, a person; for the hub's log
	Expires time.Time // always set
}

// payload is a Pass as a JWT has it.
type payload struct {
	Audience string   `json:"aud"`
	Subject  string   `json:"sub,omitempty"`
	Expires  int64    `json:"exp"`
	Network  string   `json:"net"`
	To       []string `json:"to"`
}

const (
	audience = "outrigger-hub"
	header   = `{"alg":"EdDSA","typ":"JWT"}`
	maxPass  = 4 << 10 // far above any that we sign
)

var b64 = base64.RawURLEncoding.Strict()

// A Signer signs passes.
type Signer struct{ key ed25519.PrivateKey }

// NewSigner makes a key for passes and returns it in PEM format, both halves.
func NewSigner() (private, public []byte, err error) {
	pub, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, nil, fault.New(fault.Internal, "key for passes: %w", err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, nil, fault.New(fault.Internal, "key for passes: %w", err)
	}
	pubDER, err := x509.MarshalPKIXPublicKey(pub)
	if err != nil {
		return nil, nil, fault.New(fault.Internal, "key for passes: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: pubDER}), nil
}

// ParseSigner reads the private half.
func ParseSigner(data []byte) (Signer, error) {
	if block, _ := pem.Decode(data); block != nil {
		if k, err := x509.ParsePKCS8PrivateKey(block.Bytes); err == nil {
			if key, ok := k.(ed25519.PrivateKey); ok {
				return Signer{key}, nil
			}
		}
	}
	return Signer{}, fault.New(fault.Config, "key for passes: is no Ed25519 private key in PEM format").
		WithRemedy("Make one with: outrigger outpost init DIR")
}

// Sign returns the pass as its bearer shows it.
func (s Signer) Sign(p Pass) (machine.Secret, error) {
	body, err := json.Marshal(payload{audience, p.For, p.Expires.Unix(), p.Network, p.To})
	if err != nil {
		return machine.Secret{}, fault.New(fault.Internal, "pass: %w", err)
	}
	text := b64.EncodeToString([]byte(header)) + "." + b64.EncodeToString(body)
	return machine.NewSecret(text + "." + b64.EncodeToString(ed25519.Sign(s.key, []byte(text)))), nil
}

// A Verifier knows which keys sign passes: more than one while a key is replaced.
type Verifier struct{ keys []ed25519.PublicKey }

// ParseVerifier reads the public halves, one PEM block each.
func ParseVerifier(data []byte) (Verifier, error) {
	var v Verifier
	for rest := data; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		k, err := x509.ParsePKIXPublicKey(block.Bytes)
		key, ok := k.(ed25519.PublicKey)
		if err != nil || !ok {
			return Verifier{}, fault.New(fault.Config, "keys of passes: number %d is no Ed25519 public key", len(v.keys)+1)
		}
		v.keys = append(v.keys, key)
	}
	if len(v.keys) == 0 {
		return Verifier{}, fault.New(fault.Config, "keys of passes: holds no key in PEM format").
			WithRemedy("Make one with: outrigger outpost init DIR")
	}
	return v, nil
}

// Verify returns the pass behind what a client shows.
func (v Verifier) Verify(shown machine.Secret, now time.Time) (Pass, error) {
	wrong := fault.New(fault.RouteRefused, "the pass was not signed by a key that is known here")
	text := shown.Reveal()
	parts := strings.Split(text, ".")
	if len(text) > maxPass || len(parts) != 3 {
		return Pass{}, fault.New(fault.RouteRefused, "the password is no pass: want what outrigger outpost pass prints")
	}
	head, herr := b64.DecodeString(parts[0])
	sig, serr := b64.DecodeString(parts[2])
	// The one header that we write: nobody else's choice of algorithm is followed.
	if herr != nil || serr != nil || !bytes.Equal(head, []byte(header)) || !v.signed([]byte(parts[0]+"."+parts[1]), sig) {
		return Pass{}, wrong
	}
	body, err := b64.DecodeString(parts[1])
	var p payload
	if err != nil || json.Unmarshal(body, &p) != nil || p.Audience != audience {
		return Pass{}, wrong
	}
	pass := Pass{Network: p.Network, To: p.To, For: p.Subject, Expires: time.Unix(p.Expires, 0)}
	if !now.Before(pass.Expires) {
		return Pass{}, fault.New(fault.RouteRefused, "the pass of %q expired at %s", pass.For, pass.Expires.UTC().Format(time.RFC3339))
	}
	return pass, nil
}

func (v Verifier) signed(text, sig []byte) bool {
	for _, k := range v.keys {
		if ed25519.Verify(k, text, sig) {
			return true
		}
	}
	return false
}
