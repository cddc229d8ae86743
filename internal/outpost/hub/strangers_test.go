package hub_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"outrigger.dev/outrigger/internal/outpost/creds"
	"outrigger.dev/outrigger/internal/outpost/hub"
)

// A place is a hub that serves network lab, with nobody in it.
type place struct {
	t       *testing.T
	address string
	config  *tls.Config // of clients
	pass    string      // as it is shown: "Basic …"
}

func serveHub(t *testing.T, cfg hub.Config) *place {
	t.Helper()
	borrowed := httptest.NewTLSServer(nil) // for its certificate
	defer borrowed.Close()
	cert := borrowed.TLS.Certificates[0]
	key, err := x509.MarshalPKCS8PrivateKey(cert.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	private, public, err := creds.NewSigner()
	if err != nil {
		t.Fatal(err)
	}
	signer, err := creds.ParseSigner(private)
	if err != nil {
		t.Fatal(err)
	}
	pass, err := signer.Sign(creds.Pass{Network: "lab", To: []string{"10.0.0.1:22"}, For: "test", Expires: time.Now().Add(time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	cfg.Dir = t.TempDir()
	for name, data := range map[string][]byte{
		hub.CertFile:   pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Certificate[0]}),
		hub.KeyFile:    pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}),
		hub.PassFile:   public,
		hub.TokensFile: []byte(creds.Grant{Outpost: creds.Outpost{Network: "lab", Name: "one"}, Digest: creds.DigestOf(creds.NewToken())}.Line() + "\n"),
	} {
		if err := os.WriteFile(filepath.Join(cfg.Dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	h, err := hub.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- h.Serve(ctx, ln) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("the hub ended with %v", err)
		}
	})
	pool := x509.NewCertPool()
	pool.AddCert(borrowed.Certificate())
	return &place{
		t: t, address: ln.Addr().String(), config: &tls.Config{RootCAs: pool, ServerName: "example.com"},
		pass: "Basic " + base64.StdEncoding.EncodeToString([]byte("lab:"+pass.Reveal())),
	}
}

// dial connects, with TLS or without, and says something.
func (p *place) dial(withTLS bool, words string) net.Conn {
	p.t.Helper()
	c, err := net.Dial("tcp", p.address)
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { c.Close() })
	if withTLS {
		c = tls.Client(c, p.config)
	}
	if err := c.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		p.t.Fatal(err)
	}
	if _, err := io.WriteString(c, words); err != nil {
		p.t.Fatal(err)
	}
	return c
}

// ended tells whether the hub ended the connection; false after the deadline of dial.
func ended(c net.Conn) bool {
	_, err := io.Copy(io.Discard, c)
	var timeout net.Error
	return !errors.As(err, &timeout) || !timeout.Timeout()
}

func TestAStrangersConnectionEnds(t *testing.T) {
	p := serveHub(t, hub.Config{Greet: 200 * time.Millisecond})
	for _, tt := range []struct {
		name, words string
		plain       bool
	}{
		{name: "says nothing at all", plain: true},
		{name: "half a handshake", plain: true, words: "\x16\x03\x01\x02\x00\x01"},
		{name: "a handshake and nothing"},
		{name: "half a head", words: "GET /healthz HTTP/1.1\r\nHo"},
		{name: "one request and silence", words: "GET /healthz HTTP/1.1\r\nHost: hub\r\n\r\n"},
		{name: "one request that wants to go on", words: "GET /healthz HTTP/1.1\r\nHost: hub\r\nConnection: keep-alive\r\n\r\n"},
		{name: "an old request that wants to go on", words: "GET /healthz HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"},
		{name: "a body that does not come", words: "POST /healthz HTTP/1.1\r\nHost: hub\r\nContent-Length: 1000\r\n\r\n"},
		{name: "a body in pieces that does not end", words: "POST / HTTP/1.1\r\nHost: hub\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n"},
		{name: "no pass", words: "CONNECT 10.0.0.1:22 HTTP/1.1\r\nHost: 10.0.0.1:22\r\n\r\n"},
		{name: "a wrong pass and a body", words: "CONNECT 10.0.0.1:22 HTTP/1.1\r\nHost: 10.0.0.1:22\r\nProxy-Authorization: Basic bGFiOng=\r\nContent-Length: 9\r\n\r\n"},
		{name: "no token", words: "GET /outpost HTTP/1.1\r\nHost: hub\r\nContent-Length: 9\r\n\r\n"},
		{name: "a wrong token", words: "GET /outpost HTTP/1.1\r\nHost: hub\r\nAuthorization: Bearer outpost_x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if c := p.dial(!tt.plain, tt.words); !ended(c) {
				t.Error("the connection stays")
			}
		})
	}
}

// Who has a pass is no stranger: it may wait longer for its network than a
// stranger may take to say something.
func TestWhoHasAPassMayWait(t *testing.T) {
	p := serveHub(t, hub.Config{Greet: 200 * time.Millisecond, Patience: time.Second})
	c := p.dial(true, "CONNECT 10.0.0.1:22 HTTP/1.1\r\nHost: 10.0.0.1:22\r\nProxy-Authorization: "+p.pass+"\r\n\r\n")
	answer, err := io.ReadAll(c)
	if err != nil || !strings.HasPrefix(string(answer), "HTTP/1.1 503 ") || !strings.Contains(string(answer), "no outpost of network lab") {
		t.Errorf("got %.200q, %v, want 503 since there is no outpost", answer, err)
	}
}

// Strangers that hold all that one source may have keep nobody out.
func TestTheOldestStrangersGiveWay(t *testing.T) {
	p := serveHub(t, hub.Config{Greet: time.Hour})
	var held []net.Conn
	for range 140 {
		held = append(held, p.dial(false, "\x16"))
	}
	for i, c := range held[:12] {
		if !ended(c) {
			t.Errorf("connection %d of 140 stays", i)
		}
	}
	c := p.dial(true, "GET "+hub.HealthPath+" HTTP/1.1\r\nHost: hub\r\n\r\n")
	answer, err := io.ReadAll(c)
	if err != nil || !strings.HasPrefix(string(answer), "HTTP/1.1 200 ") {
		t.Errorf("got %.200q, %v, want %d", answer, err, http.StatusOK)
	}
}
