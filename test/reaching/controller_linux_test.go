package reaching

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"outrigger.dev/outrigger/api/v1alpha1"
	"outrigger.dev/outrigger/internal/control/places"
	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/handoff"
	"outrigger.dev/outrigger/internal/machine"
	"outrigger.dev/outrigger/internal/outpost/creds"
	"outrigger.dev/outrigger/internal/provider/all"
	"outrigger.dev/outrigger/internal/reach"
	"outrigger.dev/outrigger/internal/reach/deliver"
	"outrigger.dev/outrigger/test/sshd"
)

// The controller takes a machine of a pool, and hands it over, through a hub. The
// networks are this process's own: who was asked tells which way was gone.
func TestControllerThroughHub(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("the program is built for root only")
	}
	s := &site{t: t, dir: t.TempDir(), sshd: sshd.Start(t, sshd.Options{})}
	m := &meeting{site: s, keys: filepath.Join(s.dir, "keys")}
	m.must(nil, bin, "outpost", "init", m.keys, "--name", "127.0.0.1")
	token := m.token("lab/east")
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	at := ln.Addr().String()
	ln.Close() // the hub takes it
	m.hub = m.start(nil, bin, "outpost", "hub", "-v", "--dir", filepath.Join(m.keys, "hub"), "--listen", at)
	m.hub.says("hub listens", 1)
	ep := s.sshd.Endpoint()
	m.start(nil, bin, "outpost", "connect", "https://"+at, "--token-file", token, "--ca-file", m.ca(), "--allow", ep.Address()).says("session begins", 1)

	hub := &places.Hub{URL: "https://" + at}
	for file, take := range map[string]func([]byte) error{
		m.ca():                            func(b []byte) error { hub.CA = string(b); return nil },
		filepath.Join(m.keys, "pass.key"): func(b []byte) (err error) { hub.Signer, err = creds.ParseSigner(b); return err },
	} {
		b, err := os.ReadFile(file)
		if err == nil {
			err = take(b)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	pool := &v1alpha1.MachinePool{ObjectMeta: metav1.ObjectMeta{Name: "macs", UID: "1"}, Spec: v1alpha1.MachinePoolSpec{
		OS: "linux", Arch: "amd64", Max: 1,
		Login:    &v1alpha1.LoginSpec{User: ep.User, SecretName: "login"},
		Provider: v1alpha1.ProviderSpec{SSH: &v1alpha1.SSHProvider{Hosts: []v1alpha1.SSHHost{{Address: ep.Host, Port: int32(ep.Port), Slots: 1}}}},
		Reach:    &v1alpha1.ReachSpec{Network: "lab"},
	}}
	login := &corev1.Secret{Data: map[string][]byte{corev1.SSHAuthPrivateKey: []byte(s.sshd.Clients[0].PEM)}}
	where := all.Place{State: s.dir, Agents: deliver.Dirs(filepath.Join(filepath.Dir(bin), "agents"))}

	if _, err := places.New(where).Open(pool, login, nil); !fault.Is(err, fault.Config) || !strings.Contains(err.Error(), "the controller knows no hub") {
		t.Errorf("without a hub: %v", err)
	}
	place, err := places.New(where).Behind(hub).Open(pool, login, nil)
	if err != nil {
		t.Fatal(err)
	}
	made, err := place.Create(t.Context(), machine.Spec{Name: "macs-1", Owner: "k8s-test-macs"})
	if err != nil {
		t.Fatal(err)
	}
	m.hub.says(fmt.Sprintf("to=%s for=controller", ep.Address()), 2) // the first contact, and the lease

	data, err := json.Marshal(handoff.Claim{Version: handoff.Version, Machine: made.Name, Endpoint: place.Adopt(made.Endpoint), Key: s.sshd.Clients[0].PEM})
	if err != nil {
		t.Fatal(err)
	}
	claim, err := handoff.ParseClaim(data)
	if err != nil {
		t.Fatal(err)
	}
	c, err := reach.Dial(t.Context(), claim.Reach(), reach.Options{})
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	m.hub.says(`for="pool macs"`, 1)
	if err := place.Delete(t.Context(), made.Name); err != nil {
		t.Error(err)
	}
}
