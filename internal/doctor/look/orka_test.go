//go:build linux

package look_test

import (
	"context"
	"encoding/pem"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"outrigger.dev/outrigger/internal/devorka"
	"outrigger.dev/outrigger/internal/devorka/operator"
	"outrigger.dev/outrigger/internal/devorka/store"
	"outrigger.dev/outrigger/internal/doctor"
	"outrigger.dev/outrigger/internal/doctor/look"
	"outrigger.dev/outrigger/internal/machine"
	"outrigger.dev/outrigger/internal/provider/orka"
)

var quick = operator.Times{
	Uncached: 200 * time.Millisecond, Cached: 50 * time.Millisecond, SSH: 50 * time.Millisecond, Login: 20 * time.Millisecond, End: 20 * time.Millisecond,
}

// cluster starts one. What is not said of it is one host, quick.
func cluster(t *testing.T, change func(*devorka.Config)) *devorka.Server {
	t.Helper()
	cfg := devorka.Config{Times: &quick, Minute: 2 * time.Second, Log: slog.New(slog.DiscardHandler)}
	if change != nil {
		change(&cfg)
	}
	s, err := devorka.Start(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("close the cluster: %v", err)
		}
	})
	return s
}

func config(t *testing.T, s *devorka.Server, g devorka.Grant) orka.Config {
	t.Helper()
	token, err := s.Token(g)
	if err != nil {
		t.Fatal(err)
	}
	return orka.Config{Endpoint: s.Endpoint(), Token: machine.NewSecret(token)}
}

func patient(c orka.Config) look.Patient {
	return look.Patient{Name: "macs", Kind: doctor.Orka, Config: c, Now: time.Now, Log: slog.New(slog.DiscardHandler)}
}

// place looks at an Orka.
func place(t *testing.T, p look.Patient) chart {
	t.Helper()
	c := chart{}
	p.Place(t.Context(), c.add)
	return c
}

func TestAnOrkaThatIsWell(t *testing.T) {
	c := place(t, patient(config(t, cluster(t, nil), devorka.Grant{Role: "orka-dev"})))
	for check, r := range c {
		if r.State == doctor.Failed {
			t.Errorf("%s has failed: %s", check, r.Found)
		}
	}
	c.want(t, "name: ok", "route: ok", "tcp: ok", "tls: skipped NotHere", "api-version: ok", "token: ok", "kubernetes-api: ok",
		"permission create VMs: ok", "permission delete VMs: ok", "permission list nodes: ok", "image: ok", "image-cached: warning NotCached", "capacity: ok", "nodes: ok")
	if !strings.Contains(c["token"].Found, "orka-default:") || !strings.Contains(c["image-cached"].Cure, "outrigger image cache --on macs ghcr.io/macstadium/") {
		t.Errorf("token: %s; image-cached: %s", c["token"].Found, c["image-cached"].Cure)
	}
}

func TestNobodyIsThere(t *testing.T) {
	s := cluster(t, nil)
	cfg := config(t, s, devorka.Grant{Role: "orka-dev"})
	cfg.Endpoint = "http://127.0.0.1:1"
	place(t, patient(cfg)).want(t, "name: ok", "route: ok", "tcp: failed Refused", "tls: skipped NotTried", "api-version: skipped NotTried", "token: skipped NotTried", "capacity: skipped NotTried")
	cfg.Endpoint = "http://no-such-orka.invalid"
	c := place(t, patient(cfg))
	if r := c["name"]; r.State != doctor.Failed || r.Reason != doctor.NoName && r.Reason != doctor.NameDown {
		t.Errorf("a name that nobody has: %s %s: %s", r.State, r.Reason, r.Found) // the second where no name server is
	}
	c.want(t, "tcp: skipped NotTried")
}

func TestItIsNoOrka3(t *testing.T) {
	for _, tt := range []struct {
		name  string
		serve http.HandlerFunc
		want  string
	}{
		{"an Orka 2", func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/health-check" {
				http.NotFound(w, r)
				return
			}
			fmt.Fprint(w, `{"api_version": "2.4.3", "errors": []}`)
		}, "failed OldAPI"},
		{"another server", http.NotFound, "failed NoAPI"},
		{"a login page", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>Log in</html>") }, "failed OtherAPI"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := httptest.NewServer(tt.serve)
			defer s.Close()
			place(t, patient(orka.Config{Endpoint: s.URL, Token: machine.NewSecret("x")})).want(t, "tcp: ok", "api-version: "+tt.want, "token: skipped NotTried")
		})
	}
}

func TestTLSIsLookedAt(t *testing.T) {
	s := httptest.NewUnstartedServer(http.NotFoundHandler())
	s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError) // of handshakes that we end
	s.StartTLS()
	defer s.Close()
	cfg := orka.Config{Endpoint: s.URL, Token: machine.NewSecret("x")}
	c := place(t, patient(cfg))
	c.want(t, "tcp: ok", "tls: failed Untrusted", "api-version: skipped NotTried")
	if !strings.Contains(c["tls"].Cure, "caFile") {
		t.Errorf("the cure is %q", c["tls"].Cure)
	}
	cfg.CA = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}))
	place(t, patient(cfg)).want(t, "tls: ok", "api-version: failed NoAPI")

	plain := httptest.NewServer(http.NotFoundHandler())
	defer plain.Close()
	cfg.Endpoint = "https" + strings.TrimPrefix(plain.URL, "http")
	place(t, patient(cfg)).want(t, "tls: failed NotTLS")
}

func TestTokens(t *testing.T) {
	s := cluster(t, nil)
	cfg := config(t, s, devorka.Grant{Role: "orka-dev", TTL: time.Second})
	deadline := time.Now().Add(time.Minute)
	for c := place(t, patient(cfg)); c["token"].Reason != doctor.TokenEnded; c = place(t, patient(cfg)) { // it ends within a second
		if time.Now().After(deadline) {
			t.Fatalf("the token is %s %s: %s", c["token"].State, c["token"].Reason, c["token"].Found)
		}
	}
	cfg = config(t, s, devorka.Grant{Role: "orka-dev", TTL: 3 * 24 * time.Hour})
	place(t, patient(cfg)).want(t, "token: warning TokenEnds", "permission create VMs: ok")
	if err := s.RotateKeys(); err != nil {
		t.Fatal(err)
	}
	place(t, patient(cfg)).want(t, "token: failed TokenRefused", "permission create VMs: skipped NotTried")
	cfg.Token = machine.NewSecret("")
	place(t, patient(cfg)).want(t, "token: failed TokenMissing")
}

func TestATokenThatMayOnlyLook(t *testing.T) {
	s := cluster(t, nil)
	cfg := config(t, s, devorka.Grant{Role: "viewer"})
	c := place(t, patient(cfg))
	c.want(t, "token: ok", "permission list VMs: ok", "permission create VMs: failed NotAllowed", "permission delete VMs: failed NotAllowed",
		"permission create images: warning MayNot", "permission list nodes: ok")
	if !strings.Contains(c["permission create VMs"].Cure, "orka3 rolebinding create") {
		t.Errorf("the cure is %q", c["permission create VMs"].Cure)
	}
	// Nothing at all: the token itself is good all the same.
	place(t, patient(config(t, s, devorka.Grant{}))).want(t, "token: ok", "permission list VMs: failed NotAllowed", "permission list nodes: failed NotAllowed")
	// Through REST only what changes nothing can be tried.
	cfg.Door = orka.DoorREST
	place(t, patient(cfg)).want(t, "kubernetes-api: skipped NotHere", "permission list VMs: ok")
}

// The cluster's other API is often not open: then REST does, and says less.
func TestTheKubernetesAPIIsNotOpen(t *testing.T) {
	s := cluster(t, nil)
	cfg := config(t, s, devorka.Grant{Role: "orka-dev"})
	closed := strings.TrimPrefix(s.KubeEndpoint(), "https://")
	cfg.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		if address == closed {
			address = "127.0.0.1:1" // where nobody listens
		}
		return new(net.Dialer).DialContext(ctx, network, address)
	}
	c := place(t, patient(cfg))
	c.want(t, "kubernetes-api: warning Refused", "permission list VMs: ok", "permission list nodes: ok", "permission create VMs: warning Unknown",
		"permission watch VMs: skipped Unknown", "image-cached: skipped Unknown", "capacity: ok")
	if !strings.Contains(c["kubernetes-api"].Cure, "outrigger image push is not possible") {
		t.Errorf("the cure is %q", c["kubernetes-api"].Cure)
	}
	cfg.Door = orka.DoorKubernetes
	place(t, patient(cfg)).want(t, "kubernetes-api: failed Refused")
}

func TestImagesAndRoom(t *testing.T) {
	s := cluster(t, func(c *devorka.Config) { c.HostCPUs = 2 })
	cfg := config(t, s, devorka.Grant{Role: "orka-dev"})
	cfg.Image = "no-such-image"
	c := place(t, patient(cfg))
	c.want(t, "image: failed NoImage", "image-cached: skipped NotTried", "capacity: warning NoCapacity")
	empty := cluster(t, func(c *devorka.Config) { c.Hosts = -1 })
	place(t, patient(config(t, empty, devorka.Grant{Role: "orka-dev"}))).want(t, "capacity: failed NoNodes", "nodes: skipped NotHere")
	away := cluster(t, nil)
	cfg = config(t, away, devorka.Grant{Role: "orka-dev"})
	cfg.Node = "no-such-node"
	place(t, patient(cfg)).want(t, "capacity: failed NoNodes")
}

func TestSecretsAreKeptBack(t *testing.T) {
	p := patient(config(t, cluster(t, nil), devorka.Grant{Role: "orka-dev"}))
	p.KeptBack = "they stay"
	order, err := p.Order(nil, "none")
	if err != nil {
		t.Fatal(err)
	}
	if text := fmt.Sprintf("%+v", *order.Orka); strings.Contains(text, p.Config.(orka.Config).Token.Reveal()) {
		t.Error("the token is in the order")
	}
	there, _, err := order.Carry(time.Now, nil, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	c := place(t, there)
	c.want(t, "tcp: ok", "api-version: ok", "token: skipped KeptBack", "permission create VMs: skipped NotTried", "capacity: skipped NotTried")
	if got := c["capacity"].Found; got != "not tried: they stay" {
		t.Errorf("capacity: %s", got)
	}
}

// What is written down for a Pod leads to the same there.
func TestAnOrderIsCarriedOutAsHere(t *testing.T) {
	s := cluster(t, nil)
	cfg := config(t, s, devorka.Grant{Role: "orka-dev"})
	state := t.TempDir()
	orkas, err := orka.New("macs", cfg, state, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	made, err := orkas.Create(t.Context(), machine.Spec{Name: "box", Owner: "tester"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := orkas.Delete(context.WithoutCancel(t.Context()), "box"); err != nil {
			t.Error(err)
		}
	}()
	p := patient(cfg)
	order, err := p.Order([]look.Subject{{Title: "machine box", Endpoint: made.Endpoint}}, "")
	if err != nil {
		t.Fatal(err)
	}
	there, subjects, err := order.Carry(time.Now, nil, t.TempDir())
	if err != nil || len(subjects) != 1 {
		t.Fatalf("%d subjects, %v", len(subjects), err)
	}
	here, pod := chart{}, chart{}
	p.Place(t.Context(), here.add)
	p.Machine(t.Context(), look.Subject{Title: "machine box", Endpoint: made.Endpoint}, here.add)
	there.Place(t.Context(), pod.add)
	there.Machine(t.Context(), subjects[0], pod.add)
	for check, h := range here {
		if r := pod[check]; r.State != h.State || r.Reason != h.Reason {
			t.Errorf("%s: here %s %s (%s), by the order %s %s (%s)", check, h.State, h.Reason, h.Found, r.State, r.Reason, r.Found)
		}
	}
	pod.want(t, "ssh-port: ok", "host-key: ok", "login: ok", "disk: ok", "clock: ok", "session: ok")
}

// TestAnImageThatIsCached: which nodes have the image is read from the nodes' objects.
func TestAnImageThatIsCached(t *testing.T) {
	s := cluster(t, nil)
	cfg := config(t, s, devorka.Grant{Role: "orka-dev"})
	cfg.Image = "ghcr.io/macstadium/orka-images/sonoma"
	s.Operator().Cache(cfg.Image+":latest", func(*store.Object) bool { return true })
	deadline := time.Now().Add(30 * time.Second)
	for {
		r := place(t, patient(cfg))["image-cached"]
		if r.State == doctor.OK {
			return
		}
		if time.Now().After(deadline) || r.State == doctor.Skipped {
			t.Fatalf("image-cached: %+v", r)
		}
	}
}
