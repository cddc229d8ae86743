//go:build linux

package webhook_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"math/big"
	"net/http"
	"testing"
	"time"

	"outrigger.dev/outrigger/internal/admit/webhook"
)

// An authority signs certificates.
type authority struct {
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T, name string) *authority {
	t.Helper()
	a := &authority{t: t}
	template := &x509.Certificate{
		Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	cert := a.sign(template)
	a.cert, a.key = cert.Leaf, cert.PrivateKey.(*ecdsa.PrivateKey)
	return a
}

// sign makes a certificate of the template; the first one is the authority's own.
func (a *authority) sign(template *x509.Certificate) tls.Certificate {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	template.SerialNumber = big.NewInt(time.Now().UnixNano())
	if template.NotAfter.IsZero() {
		template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	}
	parent, signer := a.cert, a.key
	if parent == nil {
		parent, signer = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		a.t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

func (a *authority) client(change func(*x509.Certificate)) *tls.Certificate {
	a.t.Helper()
	template := &x509.Certificate{
		Subject: pkix.Name{CommonName: "kube-apiserver"}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	change(template)
	cert := a.sign(template)
	return &cert
}

// With an authority for its clients, the webhook answers nobody else: no question of theirs is read.
func TestOnlyClientsOfTheAuthorityAreAnswered(t *testing.T) {
	w := newWorld(t)
	ours, others := newAuthority(t, "ours"), newAuthority(t, "ours") // by name they are the same
	address := freeAddress(t)
	w.replicaOf(webhook.Options{
		Address: address, URL: "https://" + address,
		ClientCA: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ours.cert.Raw}),
	})
	// Whoever it is that answers: it is the client that is looked at here.
	ask := func(cert *tls.Certificate, version uint16) error {
		config := &tls.Config{InsecureSkipVerify: true, MinVersion: version, MaxVersion: version}
		if cert != nil {
			config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return cert, nil }
		}
		c := http.Client{Transport: &http.Transport{TLSClientConfig: config, DisableKeepAlives: true}, Timeout: 10 * time.Second}
		q, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://"+address+"/pods", bytes.NewReader([]byte("{}")))
		if err != nil {
			return err
		}
		r, err := c.Do(q)
		if err != nil {
			return err
		}
		defer r.Body.Close()
		_, err = io.Copy(io.Discard, r.Body)
		return err
	}
	same := func(*x509.Certificate) {}
	w.eventually("the API server's certificate is answered", func() error { return ask(ours.client(same), tls.VersionTLS13) })
	for name, cert := range map[string]*tls.Certificate{
		"none":                         nil,
		"of another authority":         others.client(same),
		"that signs itself":            new(newAuthority(t, "kube-apiserver").sign(&x509.Certificate{})),
		"of a server":                  ours.client(func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} }),
		"that is over":                 ours.client(func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) }),
		"whose key is somebody else's": {Certificate: ours.client(same).Certificate, PrivateKey: others.key},
	} {
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			if err := ask(cert, version); err == nil {
				t.Errorf("a certificate %s is answered (%s)", name, tls.VersionName(version))
			}
		}
	}
	if err := ask(ours.client(same), tls.VersionTLS12); err != nil {
		t.Errorf("TLS 1.2: %v", err)
	}
	if err := ask(ours.client(same), tls.VersionTLS11); err == nil {
		t.Error("TLS 1.1 is answered")
	}
}
