//go:build unix

package look_test

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"outrigger.dev/outrigger/internal/doctor"
	"outrigger.dev/outrigger/internal/doctor/look"
	"outrigger.dev/outrigger/internal/machine"
	"outrigger.dev/outrigger/test/sshd"
)

// see looks at one host.
func see(t *testing.T, s look.Subject) chart {
	t.Helper()
	c := chart{}
	p := look.Patient{Name: "rack", Kind: doctor.SSH, Now: time.Now, Log: slog.New(slog.DiscardHandler)}
	p.Machine(t.Context(), s, c.add)
	return c
}

func TestAHost(t *testing.T) {
	s := sshd.Start(t, sshd.Options{})
	host := look.Subject{Title: "host mini", Endpoint: s.Endpoint(), Slots: 2}
	c := see(t, host)
	c.want(t, "name: ok", "route: ok", "ssh-port: ok", "host-key: ok", "login: ok", "slots: ok", "session: ok", "disk: ok", "clock: ok")
	if got := c["slots"].Found; got != "0 of 2 taken" {
		t.Errorf("slots: %s", got)
	}
	if os.Geteuid() == 0 { // then the sessions are another user's, who is in nobody's sudoers
		c.want(t, "sudo: warning NoSudo")
	}

	for _, lease := range []string{"a", "b"} {
		if err := os.MkdirAll(filepath.Join(s.Home, ".outrigger", "leases", lease), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	see(t, host).want(t, "slots: warning NoCapacity")
	host.Own = []string{"a", "b", "elsewhere"}
	if c := see(t, host); c["slots"].State != doctor.OK || c["slots"].Found != "2 of 2 taken, 2 by this pool" {
		t.Errorf("a pool whose own machines fill the host: %+v", c["slots"])
	}
	host.Own, host.Inner, host.Slots = []string{"b"}, []string{"a"}, 1
	if c := see(t, host); c["slots"].State != doctor.OK || c["slots"].Found != "1 of 1 taken, 1 by this pool" {
		t.Errorf("a machine of the pool that a Pod has: %+v", c["slots"])
	}
	host.Own, host.Inner, host.Slots = []string{"b"}, nil, 1
	see(t, host).want(t, "slots: warning NoCapacity") // somebody else is there too
	host.Own, host.Slots = nil, 2
	if entries, err := os.ReadDir(filepath.Join(s.Home, ".outrigger")); err != nil || len(entries) != 1 {
		t.Errorf("the look has left something: %v, %v", entries, err)
	}

	s.Stop()
	see(t, host).want(t, "ssh-port: failed Refused", "host-key: skipped NotTried", "login: skipped NotTried", "clock: skipped NotTried")
	s.Restart()
	see(t, host).want(t, "clock: ok")
}

func TestAHostThatIsAnother(t *testing.T) {
	s, other := sshd.Start(t, sshd.Options{}), sshd.Start(t, sshd.Options{})
	host := look.Subject{Title: "host mini", Endpoint: s.Endpoint()}
	host.Endpoint.HostKeys = other.Endpoint().HostKeys
	c := see(t, host)
	c.want(t, "ssh-port: ok", "host-key: failed KeyChanged", "login: skipped NotTried")
	if !strings.Contains(c["host-key"].Cure, "Nothing was sent") || !strings.Contains(c["host-key"].Cure, "hostKeys:") {
		t.Errorf("the cure is %q", c["host-key"].Cure)
	}
	host.Endpoint.HostKeys, host.Endpoint.KnownHosts = nil, []string{filepath.Join(t.TempDir(), "none")}
	see(t, host).want(t, "host-key: failed KeyUnknown")
	host.Endpoint.KnownHosts = nil
	see(t, host).want(t, "host-key: warning KeyUnpinned", "login: skipped KeptBack", "sudo: skipped NotTried")
}

func TestALoginThatIsWrong(t *testing.T) {
	s, other := sshd.Start(t, sshd.Options{}), sshd.Start(t, sshd.Options{})
	host := look.Subject{Title: "host mini", Endpoint: s.Endpoint()}
	host.Endpoint.Auth = other.Endpoint().Auth
	c := see(t, host)
	c.want(t, "host-key: ok", "login: failed LoginRefused", "disk: skipped NotTried")
	if !strings.Contains(c["login"].Cure, "user, keyFiles and password of provider rack") {
		t.Errorf("the cure is %q", c["login"].Cure)
	}
	host.Endpoint.Auth = machine.Auth{}
	see(t, host).want(t, "host-key: ok", "login: failed NoLogin")
}

func TestAHostBehindAnother(t *testing.T) {
	gate, s := sshd.Start(t, sshd.Options{}), sshd.Start(t, sshd.Options{})
	host := look.Subject{Title: "host mini", Endpoint: s.Endpoint()}
	host.Endpoint.Jumps = []machine.Endpoint{gate.Endpoint()}
	see(t, host).want(t, "name: skipped NotHere", "route: ok", "ssh-port: ok", "host-key: ok", "login: ok", "clock: ok")
	gate.Stop()
	see(t, host).want(t, "ssh-port: failed WayDown")
}

// A clock that is wrong is seen on a machine whose date lies.
func TestAClockThatIsWrong(t *testing.T) {
	bin, err := os.MkdirTemp("", "outrigger-date-") // where another user sees it
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(bin) })
	if err := os.Chmod(bin, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(bin, "date"), []byte("#!/bin/sh\necho $(($(/bin/date +%s) - 7200))\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	s := sshd.Start(t, sshd.Options{Env: []string{"PATH=" + bin + ":/usr/bin:/bin"}})
	c := see(t, look.Subject{Title: "host mini", Endpoint: s.Endpoint()})
	c.want(t, "clock: failed ClockWrong")
	if !strings.Contains(c["clock"].Found, " behind that of this computer") {
		t.Errorf("clock: %s", c["clock"].Found)
	}
}

// Hosts are looked at side by side and reported one after the other.
func TestHostsAreReportedInTheirOrder(t *testing.T) {
	s := sshd.Start(t, sshd.Options{})
	var hosts []look.Subject
	for _, name := range []string{"a", "b", "c", "d"} {
		hosts = append(hosts, look.Subject{Title: "host " + name, Endpoint: s.Endpoint()})
	}
	hosts[1].Endpoint.Port = 1 // nobody listens
	var order []string
	p := look.Patient{Name: "rack", Kind: doctor.SSH, Now: time.Now, Log: slog.New(slog.DiscardHandler)}
	p.Machines(t.Context(), hosts, func(r doctor.Result) {
		if r.Check == "login" {
			order = append(order, r.Subject+" "+string(r.State))
		}
	})
	if got := strings.Join(order, ", "); got != "host a ok, host b skipped, host c ok, host d ok" {
		t.Errorf("reported: %s", got)
	}
}
