//go:build linux

package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// users have a certificate and a kubeconfig each.
var users = map[string]pkix.Name{
	"admin":                   {CommonName: "admin", Organization: []string{"system:masters"}},
	"kube-controller-manager": {CommonName: "system:kube-controller-manager"},
	"kube-scheduler":          {CommonName: "system:kube-scheduler"},
	"kube-proxy":              {CommonName: "system:kube-proxy"},
	"kubelet":                 {CommonName: "system:node:" + nodeName, Organization: []string{"system:nodes"}},
}

// pki makes keys and certificates for all parts, once: the folder appears when all is in it.
func (b *bed) pki() error {
	dir := b.in("pki")
	if _, err := os.Stat(dir); err == nil {
		return nil
	}
	draft := dir + ".draft"
	if err := errors.Join(os.RemoveAll(draft), os.MkdirAll(draft, 0o700)); err != nil {
		return err
	}
	ca, err := certify(draft, "ca", nil, pkix.Name{CommonName: "outrigger-bed"}, nil, nil)
	if err != nil {
		return err
	}
	server := []string{"localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local"}
	if _, err := certify(draft, "apiserver", ca, pkix.Name{CommonName: "kube-apiserver"}, server,
		[]net.IP{net.ParseIP(nodeIP), net.ParseIP("127.0.0.1"), net.ParseIP(kubernetesIP)}); err != nil {
		return err
	}
	for user, name := range users {
		one, err := certify(draft, user, ca, name, nil, nil)
		if err != nil {
			return err
		}
		config := fmt.Sprintf(`apiVersion: v1
kind: Config
clusters: [{name: bed, cluster: {server: %q, certificate-authority-data: %s}}]
users: [{name: %s, user: {client-certificate-data: %s, client-key-data: %s}}]
contexts: [{name: bed, context: {cluster: bed, user: %s}}]
current-context: bed
`, apiURL, encode(ca.pem), user, encode(one.pem), encode(one.keyPEM), user)
		if err := os.WriteFile(filepath.Join(draft, user+".kubeconfig"), []byte(config), 0o600); err != nil {
			return err
		}
	}
	if _, err := certify(draft, "sa", nil, pkix.Name{CommonName: "service accounts"}, nil, nil); err != nil {
		return err
	}
	return os.Rename(draft, dir)
}

func encode(data []byte) string { return base64.StdEncoding.EncodeToString(data) }

// A pair is a certificate with its key.
type pair struct {
	cert        *x509.Certificate
	key         *ecdsa.PrivateKey
	pem, keyPEM []byte
}

// certify writes NAME.crt and NAME.key, signed by ca, or by itself if that is nil.
func certify(dir, name string, ca *pair, subject pkix.Name, names []string, ips []net.IP) (*pair, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: serial, Subject: subject, DNSNames: names, IPAddresses: ips, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(10, 0, 0), KeyUsage: x509.KeyUsageDigitalSignature,
	}
	parent, signer := template, key
	if ca == nil {
		template.IsCA = true
		template.KeyUsage |= x509.KeyUsageCertSign
	} else {
		template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
		parent, signer = ca.cert, ca.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	keyDER, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return nil, err
	}
	p := &pair{
		cert: cert, key: key,
		pem:    pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		keyPEM: pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: keyDER}),
	}
	return p, errors.Join(
		os.WriteFile(filepath.Join(dir, name+".crt"), p.pem, 0o644),
		os.WriteFile(filepath.Join(dir, name+".key"), p.keyPEM, 0o600))
}
