package webhook

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"testing"
	"time"
)

var (
	hosts = []string{"outrigger-webhook.outrigger-system.svc", "127.0.0.1"}
	times = Times{}.withDefaults()
)

// step asks for the next pairs, and checks what must hold of all: what a replica may
// show, old or new, is trusted by who knows any of the two bundles that it may have.
func step(t *testing.T, p Pairs, now time.Time, told bool) (Pairs, bool, time.Time) {
	t.Helper()
	next, changed, again, err := p.Next(now, hosts, told, times, generate)
	if err != nil {
		t.Fatal(err)
	}
	if !trusted(next.Bundle, next.Cert, next.Key, now) {
		t.Error("what is shown is not in the bundle")
	}
	if usable := trusted(p.Bundle, p.Cert, p.Key, now); usable {
		if !trusted(p.Bundle, next.Cert, next.Key, now) {
			t.Error("who was not told of the new bundle does not trust what is shown now")
		}
		if !trusted(next.Bundle, p.Cert, p.Key, now) {
			t.Error("who was told of the new bundle does not trust what others still show")
		}
	}
	if changed == next.equal(p) {
		t.Errorf("changed is %t", changed)
	}
	return next, changed, again
}

func trusted(bundle, certPEM, keyPEM []byte, now time.Time) bool {
	pair, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		return false
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(bundle)
	for _, host := range hosts {
		if _, err := pair.Leaf.Verify(x509.VerifyOptions{DNSName: host, Roots: roots, CurrentTime: now}); err != nil {
			return false
		}
	}
	return true
}

func TestALifeOfCertificates(t *testing.T) {
	now := time.Now()
	p, changed, _ := step(t, Pairs{}, now, false)
	if !changed || p.NextCert != nil {
		t.Fatalf("the first: %+v", p)
	}
	first := p
	_, changed, again := step(t, p, now, true)
	if changed || again.Sub(now) < times.Valid-times.Renew-2*time.Hour {
		t.Errorf("nothing to do: changed %t, again in %s", changed, again.Sub(now))
	}
	now = again
	p, changed, _ = step(t, p, now, true)
	if !changed || p.NextCert == nil || !bytes.Equal(p.Cert, first.Cert) || !p.NextSince.IsZero() {
		t.Fatalf("announced: %+v", p)
	}
	if _, changed, _ := step(t, p, now, false); changed {
		t.Error("goes on although the API server was not told")
	}
	p, changed, again = step(t, p, now, true)
	if !changed || !p.NextSince.Equal(now) || again.Sub(now) != times.Settle {
		t.Fatalf("told: changed %t, since %s, again in %s", changed, p.NextSince, again.Sub(now))
	}
	if p = ParsePairs(p.Data()); !p.NextSince.Equal(now) {
		t.Errorf("since %s was not kept in the Secret", p.NextSince)
	}
	if _, changed, _ := step(t, p, now.Add(times.Settle/2), true); changed {
		t.Error("is shown before all were told")
	}
	if _, changed, _ := step(t, p, now.Add(times.Settle), false); changed {
		t.Error("is shown although somebody took it out of the configuration")
	}
	now = now.Add(times.Settle)
	coming := p.NextCert
	p, changed, _ = step(t, p, now, true)
	if !changed || !bytes.Equal(p.Cert, coming) || p.NextCert != nil {
		t.Fatalf("shown: %+v", p)
	}
	if !trusted(p.Bundle, first.Cert, first.Key, now) {
		t.Error("the former one is not trusted any more")
	}
	old, _, err := generate(hosts, 30*time.Minute) // backdated by an hour
	if err != nil {
		t.Fatal(err)
	}
	if got := bundle(now, p.Cert, old, p.Bundle); !bytes.Equal(got, p.Bundle) {
		t.Errorf("the bundle holds what has expired, or something twice:\n%s", got)
	}
}

func TestBrokenPairs(t *testing.T) {
	now := time.Now()
	good, _, _ := step(t, Pairs{}, now, false)
	other, _, _ := step(t, Pairs{}, now, false)
	for name, change := range map[string]func(*Pairs){
		"no key":                    func(p *Pairs) { p.Key = nil },
		"key of another":            func(p *Pairs) { p.Key = other.Key },
		"nonsense":                  func(p *Pairs) { p.Cert = []byte("x") },
		"no authority behind it":    func(p *Pairs) { p.Cert = p.Cert[:bytes.LastIndex(p.Cert, []byte("-----BEGIN"))] },
		"nonsense, but a next one":  func(p *Pairs) { p.Cert, p.NextCert, p.NextKey = nil, other.Cert, other.Key },
		"a next one that is broken": func(p *Pairs) { p.NextCert = []byte("x") },
		"empty bundle":              func(p *Pairs) { p.Bundle = nil },
	} {
		p := good
		change(&p)
		next, changed, _, err := p.Next(now, hosts, false, times, generate)
		if err != nil || !changed || !trusted(next.Bundle, next.Cert, next.Key, now) {
			t.Errorf("%s: changed %t, %v", name, changed, err)
		}
		if name == "nonsense, but a next one" && !bytes.Equal(next.Cert, other.Cert) {
			t.Errorf("%s: it is not taken", name)
		}
	}
	if _, _, _, err := good.Next(now.Add(times.Valid), hosts, true, times, func([]string, time.Duration) ([]byte, []byte, error) {
		return nil, nil, fmt.Errorf("no entropy")
	}); err == nil {
		t.Error("no error although no certificate can be made")
	}
	elsewhere, changed, _, err := good.Next(now, []string{"10.0.0.7"}, true, times, generate)
	if err != nil || !changed || bytes.Equal(elsewhere.Cert, good.Cert) {
		t.Errorf("another name: changed %t, %v", changed, err)
	}
}
