package creds

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/machine"
)

// tokenPrefix lets scanners for leaked secrets know what they found.
const tokenPrefix = "outpost_"

// NewToken returns a token with 256 random bits.
func NewToken() machine.Secret {
	var b [32]byte
	_, _ = rand.Read(b[:]) // crypto/rand.Read never fails: it crashes the program instead
	return machine.NewSecret(tokenPrefix + base64.RawURLEncoding.EncodeToString(b[:]))
}

// A Digest is the SHA-256 of a token. A token has too many bits to be guessed, so
// nothing slower is needed.
type Digest [sha256.Size]byte

// DigestOf returns the digest of a token.
func DigestOf(token machine.Secret) Digest { return sha256.Sum256([]byte(token.Reveal())) }

// A Grant lets whoever has the token be an outpost.
type Grant struct {
	Outpost Outpost
	Digest  Digest
	Expires time.Time // zero: never
}

// Line is the grant as it stands in the file of tokens.
func (g Grant) Line() string {
	line := g.Outpost.String() + " sha256:" + hex.EncodeToString(g.Digest[:])
	if !g.Expires.IsZero() {
		line += " " + g.Expires.UTC().Format(time.RFC3339)
	}
	return line
}

// Grants are the lines of a file of tokens. An outpost may have several: that
// is how a token is replaced.
type Grants []Grant

// ParseGrants reads a file of tokens: "network/name sha256:HEX [EXPIRES]" a
// line, empty lines and those that begin with "#" aside.
func ParseGrants(data []byte) (Grants, error) {
	var all Grants
	s := bufio.NewScanner(bytes.NewReader(data))
	for n := 1; s.Scan(); n++ {
		text := strings.TrimSpace(s.Text())
		if text == "" || strings.HasPrefix(text, "#") {
			continue
		}
		g, err := parseGrant(strings.Fields(text))
		if err != nil {
			return nil, fault.New(fault.Config, "tokens: line %d: %w", n, err).
				WithRemedy("Lines are made by: outrigger outpost token NETWORK/NAME")
		}
		all = append(all, g)
	}
	if err := s.Err(); err != nil {
		return nil, fault.New(fault.Config, "tokens: %w", err)
	}
	return all, nil
}

func parseGrant(f []string) (g Grant, err error) {
	if len(f) < 2 || len(f) > 3 {
		return g, fmt.Errorf("has %d words: want network/name, sha256:DIGEST and perhaps an expiry", len(f))
	}
	if g.Outpost, err = ParseOutpost(f[0]); err != nil {
		return g, err
	}
	digest, ok := strings.CutPrefix(f[1], "sha256:")
	b, err := hex.DecodeString(digest)
	if !ok || err != nil || len(b) != len(g.Digest) {
		return g, fmt.Errorf("the digest of %s is not sha256: and 64 hexadecimal digits", g.Outpost)
	}
	copy(g.Digest[:], b)
	if len(f) == 3 {
		if g.Expires, err = time.Parse(time.RFC3339, f[2]); err != nil {
			return g, fmt.Errorf("expiry %q of %s: want a time such as 2027-01-31T00:00:00Z", f[2], g.Outpost)
		}
	}
	return g, nil
}

// ParseOutpost reads "network/name".
func ParseOutpost(s string) (Outpost, error) {
	network, name, ok := strings.Cut(s, "/")
	if !ok {
		return Outpost{}, fmt.Errorf("outpost %q: want NETWORK/NAME", s)
	}
	o := Outpost{network, name}
	if err := CheckLabel("network", network); err != nil {
		return Outpost{}, err
	}
	return o, CheckLabel("outpost", name)
}

// Find returns the grant of a token. The error says why there is none.
func (gs Grants) Find(token machine.Secret, now time.Time) (Grant, error) {
	d := DigestOf(token)
	for _, g := range gs {
		if subtle.ConstantTimeCompare(g.Digest[:], d[:]) == 1 {
			return g, g.valid(now)
		}
	}
	return Grant{}, fault.New(fault.RouteRefused, "the token is not known here")
}

// Holds tells whether a grant is still there and valid.
func (gs Grants) Holds(g Grant, now time.Time) error {
	for _, have := range gs {
		if have.Outpost == g.Outpost && have.Digest == g.Digest {
			return have.valid(now)
		}
	}
	return fault.New(fault.RouteRefused, "the token of outpost %s was withdrawn", g.Outpost)
}

func (g Grant) valid(now time.Time) error {
	if !g.Expires.IsZero() && !now.Before(g.Expires) {
		return fault.New(fault.RouteRefused, "the token of outpost %s expired at %s", g.Outpost, g.Expires.UTC().Format(time.RFC3339))
	}
	return nil
}
