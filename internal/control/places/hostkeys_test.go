//go:build unix

package places_test

import (
	"context"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"outrigger.dev/outrigger/api/v1alpha1"
	"outrigger.dev/outrigger/internal/control/places"
	"outrigger.dev/outrigger/internal/control/pools"
	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/machine"
	"outrigger.dev/outrigger/internal/provider/all"
	"outrigger.dev/outrigger/internal/reach/deliver"
	"outrigger.dev/outrigger/test/agents"
	"outrigger.dev/outrigger/test/sshd"
)

// open opens a pool of hosts whose keys nobody has told; they take the login of user.
func open(t *testing.T, state string, user *sshd.Server, hosts ...v1alpha1.SSHHost) pools.Place {
	t.Helper()
	p := &v1alpha1.MachinePool{ObjectMeta: metav1.ObjectMeta{Name: "lab", UID: "u"}, Spec: v1alpha1.MachinePoolSpec{
		OS: "linux", Arch: "amd64",
		Provider: v1alpha1.ProviderSpec{SSH: &v1alpha1.SSHProvider{Hosts: hosts}},
		Login:    &v1alpha1.LoginSpec{User: user.Endpoint().User, SecretName: "login"},
	}}
	login := &corev1.Secret{Data: map[string][]byte{"ssh-privatekey": []byte(user.Clients[0].PEM)}}
	place, err := places.New(all.Place{State: state, Agents: deliver.Dirs(agents.Dir(t))}).Open(p, login, nil)
	if err != nil {
		t.Fatal(err)
	}
	return place
}

func hostAt(name string, port int) v1alpha1.SSHHost {
	return v1alpha1.SSHHost{Address: name, Port: int32(port), Slots: 8}
}

// silent is the port of a host that is switched off behind a router: the kernel accepts, and nobody says anything.
func silent(t *testing.T) int {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	return ln.Addr().(*net.TCPAddr).Port
}

func create(t *testing.T, place pools.Place, name machine.Name) machine.Machine {
	t.Helper()
	m, err := place.Create(t.Context(), machine.Spec{Name: name, Owner: "me", Expires: time.Now().Add(time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// Hosts whose keys nobody knows and that do not answer cost themselves and no other: many callers who want something of
// machines on a living host get it at once, although nobody has ever been on the silent ones.
func TestSilentHostsHoldUpNobody(t *testing.T) {
	here := sshd.Start(t, sshd.Options{})
	hosts := []v1alpha1.SSHHost{hostAt("127.0.0.1", here.Endpoint().Port)}
	for i := range 4 {
		hosts = append(hosts, hostAt(fmt.Sprintf("127.0.0.%d", i+2), silent(t)))
	}
	place := open(t, t.TempDir(), here, hosts...)
	// The first contact with a silent host is given up after 10 s, and a connection after 20 s.
	ctx, cancel := context.WithTimeout(t.Context(), 9*time.Second)
	defer cancel()
	m := create(t, place, "a")
	if m.Endpoint.Port != here.Endpoint().Port || len(m.Endpoint.HostKeys) == 0 {
		t.Fatalf("got %+v; want one of the living host, with its key", m.Endpoint)
	}
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			if _, err := place.Get(ctx, "a"); err != nil {
				t.Errorf("call %d: %v", i, err)
			}
		})
	}
	wg.Wait()
	if err := place.Delete(ctx, "a"); err != nil {
		t.Error(err)
	}
}

// Whoever gives up while a host is contacted for the first time is not held until that has ended.
func TestFirstContactEndsWithItsCaller(t *testing.T) {
	user := sshd.Start(t, sshd.Options{})
	place := open(t, t.TempDir(), user, hostAt("127.0.0.1", silent(t)))
	done := make(chan error, 2)
	ctx, cancel := context.WithCancel(t.Context())
	for range cap(done) {
		go func() {
			_, err := place.Get(ctx, "a")
			done <- err
		}()
	}
	cancel()
	for range cap(done) {
		select {
		case err := <-done:
			if err == nil {
				t.Error("a machine of a host that says nothing")
			}
		case <-time.After(9 * time.Second):
			t.Fatal("still waits")
		}
	}
}

// The key that a host has shown once counts from then on, also for a controller that was started anew.
func TestTheFirstKeyCounts(t *testing.T) {
	first, other := sshd.Start(t, sshd.Options{}), sshd.Start(t, sshd.Options{})
	state, host := t.TempDir(), hostAt("127.0.0.1", first.Endpoint().Port)
	m := create(t, open(t, state, first, host), "a")
	if want := strings.Fields(first.Endpoint().HostKeys[0])[1]; len(m.Endpoint.HostKeys) != 1 || !strings.Contains(m.Endpoint.HostKeys[0], want) {
		t.Errorf("pinned %q; want the key of the host, %q", m.Endpoint.HostKeys, want)
	}
	host.HostKeys = other.Endpoint().HostKeys
	if _, err := open(t, state, first, host).Get(t.Context(), "a"); !fault.Is(err, fault.HostKey) {
		t.Errorf("a key that the pool says and the host does not have: %v", err)
	}
	host.HostKeys = nil
	if again, err := open(t, state, first, host).Get(t.Context(), "a"); err != nil || again.Endpoint.HostKeys[0] != m.Endpoint.HostKeys[0] {
		t.Errorf("got %q, %v; want the key as before", again.Endpoint.HostKeys, err)
	}
}
