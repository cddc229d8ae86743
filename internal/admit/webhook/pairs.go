package webhook

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"net"
	"slices"
	"time"

	"k8s.io/client-go/util/cert"

	"outrigger.dev/outrigger/internal/fault"
)

// What the Secret holds.
const (
	keyCert      = "tls.crt"    // shown, with the certificate of its authority behind it
	keyKey       = "tls.key"    //
	keyNextCert  = "next.crt"   // shown next
	keyNextKey   = "next.key"   //
	keyNextSince = "next.since" // when the API server was told of it, RFC 3339
	keyBundle    = "ca.crt"     // authorities that the API server is to trust
)

// Pairs are the certificates that there are: one that is shown, perhaps the next
// one, and the authorities of those two and of earlier ones.
//
// Each certificate has an authority of its own, whose key was thrown away when
// the certificate was signed: nobody can make another one that the API server
// would trust. So each exchange is one of authorities too, in this order, and
// between any two steps everything that a replica may show is trusted:
//
//  1. the next pair is made, and its authority goes into the bundle;
//  2. the configuration has the bundle, and has had it for a while ([Times].Settle),
//     since API servers hear of a change at different times;
//  3. the next pair becomes the one that is shown. The former authority stays in
//     the bundle until it expires, for replicas that hear of it later.
type Pairs struct { //nolint:recvcheck // one method changes it
	Cert, Key         []byte
	NextCert, NextKey []byte
	NextSince         time.Time // zero: not told yet
	Bundle            []byte
}

// ParsePairs reads the Secret. What cannot be read is as if it were not there.
func ParsePairs(data map[string][]byte) Pairs {
	p := Pairs{Cert: data[keyCert], Key: data[keyKey], NextCert: data[keyNextCert], NextKey: data[keyNextKey], Bundle: data[keyBundle]}
	if t, err := time.Parse(time.RFC3339Nano, string(data[keyNextSince])); err == nil {
		p.NextSince = t
	}
	return p
}

// Data is what the Secret is to hold.
func (p Pairs) Data() map[string][]byte {
	data := map[string][]byte{keyCert: p.Cert, keyKey: p.Key, keyBundle: p.Bundle}
	if p.NextCert != nil {
		data[keyNextCert], data[keyNextKey] = p.NextCert, p.NextKey
	}
	if !p.NextSince.IsZero() {
		data[keyNextSince] = []byte(p.NextSince.UTC().Format(time.RFC3339Nano))
	}
	return data
}

// A maker makes a certificate for these names, with its authority's behind it.
type maker func(names []string, valid time.Duration) (certPEM, keyPEM []byte, err error)

// Next returns the pairs as they are to be now, and when to look again; changed tells
// whether they differ from p. Told is whether the API server was told of p.Bundle.
func (p Pairs) Next(now time.Time, names []string, told bool, t Times, generate maker) (next Pairs, changed bool, again time.Time, err error) {
	next = p
	shown := leaf(p.Cert, p.Key, names, now)
	coming := leaf(p.NextCert, p.NextKey, names, now)
	switch {
	case shown == nil && coming != nil:
		// The shown one has expired or is broken: nothing is better than the next.
		next.promote()
	case shown == nil:
		next = Pairs{Bundle: p.Bundle}
		if next.Cert, next.Key, err = generate(names, t.Valid); err != nil {
			return p, false, now, err
		}
		if shown = leaf(next.Cert, next.Key, names, now); shown == nil {
			return p, false, now, fault.New(fault.Internal, "webhook: the certificate that was just made is not valid for %q", names)
		}
	case coming == nil && !now.Before(shown.NotAfter.Add(-t.Renew)):
		if next.NextCert, next.NextKey, err = generate(names, t.Valid); err != nil {
			return p, false, now, err
		}
		next.NextSince = time.Time{}
	case coming == nil:
		next.NextCert, next.NextKey, next.NextSince = nil, nil, time.Time{}
		again = shown.NotAfter.Add(-t.Renew)
	case !told:
	case p.NextSince.IsZero():
		next.NextSince = now
		again = now.Add(t.Settle)
	case !now.Before(p.NextSince.Add(t.Settle)):
		next.promote()
		again = coming.NotAfter.Add(-t.Renew)
	default:
		again = p.NextSince.Add(t.Settle)
	}
	next.Bundle = bundle(now, next.Cert, next.NextCert, p.Bundle)
	if again.IsZero() {
		again = now.Add(t.Settle)
	}
	return next, !next.equal(p), again, nil
}

func (p *Pairs) promote() {
	p.Cert, p.Key = p.NextCert, p.NextKey
	p.NextCert, p.NextKey, p.NextSince = nil, nil, time.Time{}
}

func (p Pairs) equal(o Pairs) bool {
	return bytes.Equal(p.Cert, o.Cert) && bytes.Equal(p.Key, o.Key) && bytes.Equal(p.NextCert, o.NextCert) &&
		bytes.Equal(p.NextKey, o.NextKey) && p.NextSince.Equal(o.NextSince) && bytes.Equal(p.Bundle, o.Bundle)
}

// leaf returns the certificate of a pair, or nil if it does not serve for all
// names now.
func leaf(certPEM, keyPEM []byte, names []string, now time.Time) *x509.Certificate {
	pair, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil || len(pair.Certificate) < 2 {
		return nil
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(certPEM)
	for _, name := range names {
		if _, err := pair.Leaf.Verify(x509.VerifyOptions{DNSName: name, Roots: roots, CurrentTime: now}); err != nil {
			return nil
		}
	}
	return pair.Leaf
}

// bundle returns the authorities in these PEM texts, each once, without those that
// have expired.
func bundle(now time.Time, texts ...[]byte) []byte {
	var all []*x509.Certificate
	for _, text := range texts {
		certs, err := cert.ParseCertsPEM(text)
		if err != nil {
			continue // it holds none
		}
		for _, c := range certs {
			known := slices.ContainsFunc(all, c.Equal)
			if c.IsCA && now.Before(c.NotAfter) && !known {
				all = append(all, c)
			}
		}
	}
	out, err := cert.EncodeCertificates(all...)
	if err != nil {
		return nil // certificates that were parsed can be written
	}
	return out
}

// generate makes a pair as client-go does, for clusters' own components.
func generate(names []string, valid time.Duration) (certPEM, keyPEM []byte, err error) {
	o := cert.SelfSignedCertKeyOptions{Host: names[0], MaxAge: valid}
	for _, name := range names[1:] {
		if ip := net.ParseIP(name); ip != nil {
			o.AlternateIPs = append(o.AlternateIPs, ip)
		} else {
			o.AlternateDNS = append(o.AlternateDNS, name)
		}
	}
	certPEM, keyPEM, err = cert.GenerateSelfSignedCertKeyWithOptions(o)
	if err != nil {
		return nil, nil, fault.New(fault.Internal, "webhook: certificate: %w", err)
	}
	return certPEM, keyPEM, nil
}
