//go:build linux

package orka_test

import (
	"strings"
	"testing"
	"time"

	"outrigger.dev/outrigger/internal/devorka"
	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/provider/orka"
)

// A namespace has no quota left, or none at all: Orka's own words say so, nothing is left,
// and with another quota it goes on.
func TestNamespaceWithoutQuota(t *testing.T) {
	eachDoor(t, func(t *testing.T, door orka.Door) {
		s := cluster(t, nil)
		p := open(t, config(t, s, door), t.TempDir())
		s.Operator().SetQuota("orka-default", 0)
		_, err := p.Create(t.Context(), spec("mac-a"))
		wants(t, "Create without any quota", err, fault.ProviderRefused, "exceeded quota", "403")
		if got := vms(s); len(got) != 0 {
			t.Errorf("VMs %v are left", got)
		}
		s.Operator().SetQuota("orka-default", 1)
		if _, err := p.Create(t.Context(), spec("mac-a")); err != nil {
			t.Fatal(err)
		}
		_, err = p.Create(t.Context(), spec("mac-b"))
		wants(t, "Create beyond the quota", err, fault.ProviderRefused, "exceeded quota")
		if err := p.Delete(t.Context(), "mac-b"); err != nil { // as callers do after an error
			t.Error(err)
		}
		if got := vms(s); len(got) != 1 {
			t.Errorf("VMs %v, want the first", got)
		}
		if err := p.Delete(t.Context(), "mac-a"); err != nil {
			t.Error(err)
		}
		if _, err := p.Create(t.Context(), spec("mac-b")); err != nil {
			t.Errorf("when there is room again: %v", err)
		}
	})
}

// The cluster's clock is a day off, ahead or behind: machines come and go as ever, and of a
// token it is Orka's clock that counts.
func TestClocksDiffer(t *testing.T) {
	for name, ahead := range map[string]time.Duration{"Orka is ahead": 26 * time.Hour, "Orka is behind": -26 * time.Hour} {
		t.Run(name, func(t *testing.T) {
			eachDoor(t, func(t *testing.T, door orka.Door) {
				s := cluster(t, func(c *devorka.Config) { c.Ahead = ahead })
				cfg := config(t, s, door)
				cfg.Token = token(t, s, devorka.Grant{Role: "orka-dev", TTL: time.Hour})
				p := open(t, cfg, t.TempDir())
				m, err := p.Create(t.Context(), spec("mac-a"))
				if err != nil {
					t.Fatal(err)
				}
				answers(t, m)
				all, err := p.List(t.Context(), "tester")
				if err != nil || len(all) != 1 || time.Until(all[0].Expires) < 50*time.Minute {
					t.Errorf("List: %+v, %v; want the machine, with the expiry that we gave it", all, err)
				}
				if end, ok := p.TokenExpires(); !ok || (time.Until(end)-time.Hour).Abs() > 2*time.Minute {
					t.Errorf("a token that is good for an hour ends at %v, %v by our clock, where it is %v", end, ok, time.Now())
				}
				if err := p.Delete(t.Context(), "mac-a"); err != nil || len(vms(s)) != 0 {
					t.Errorf("Delete: %v, left %v", err, vms(s))
				}

				cfg.Token = token(t, s, devorka.Grant{Role: "orka-dev", TTL: time.Second})
				p = open(t, cfg, t.TempDir())
				for end := time.Now().Add(20 * time.Second); err == nil && time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
					_, err = p.List(t.Context(), "")
				}
				day := time.Now().Add(ahead).UTC().Format("2006-01-02")
				wants(t, "List with a token that has ended by Orka's clock", err, fault.ProviderRefused, "401", "it ended on "+day)
			})
		})
	}
}

// The endpoint leads to the same cluster, but not to the API that is spoken.
func TestWrongAPI(t *testing.T) {
	s := cluster(t, nil)
	good := config(t, s, orka.DoorREST)
	for name, tt := range map[string]struct {
		endpoint string
		kind     fault.Kind
		words    []string
	}{
		"the path of another version": {s.Endpoint() + "/api/v2", fault.ProviderRefused, []string{"404", "Orka 3"}},
		"the Kubernetes door":         {s.KubeEndpoint(), fault.ProviderRefused, []string{s.KubeEndpoint()}},
		"HTTPS where HTTP is spoken":  {strings.Replace(s.Endpoint(), "http://", "https://", 1), fault.ProviderDown, []string{"server gave HTTP response to HTTPS client"}},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := good
			cfg.Endpoint = tt.endpoint
			_, err := open(t, cfg, t.TempDir()).Create(t.Context(), spec("mac-a"))
			if !fault.Is(err, tt.kind) {
				t.Errorf("got %v (%s), want a fault of kind %s", err, fault.Of(err), tt.kind)
			}
			for _, w := range tt.words {
				if text := err.Error() + " " + fault.Remedy(err); !strings.Contains(text, w) {
					t.Errorf("got %s, want it to say %q", text, w)
				}
			}
			if got := vms(s); len(got) != 0 {
				t.Errorf("VMs %v are left", got)
			}
		})
	}
}
