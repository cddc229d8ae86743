package qemu_test

import (
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/machine"
	"outrigger.dev/outrigger/internal/provider/qemu"
	"outrigger.dev/outrigger/internal/provider/qemu/qemutest"
	"outrigger.dev/outrigger/internal/reach"
)

// TestMachinesAreThemselves: two machines that resume from the same memory, and
// one that boots, share nothing that tells a machine.
func TestMachinesAreThemselves(t *testing.T) {
	state := qemutest.State(t)
	p := qemutest.Open(t, state, qemu.Config{})
	cold := qemutest.Open(t, state, qemu.Config{Snapshot: qemu.SnapshotNever})
	machines := []machine.Machine{create(t, p, machine.Spec{}), create(t, p, machine.Spec{}), create(t, cold, machine.Spec{})}

	seen := map[string]machine.Name{}
	for _, m := range machines {
		c := dial(t, m) // the pinned host key is the machine's
		before := time.Now()
		clock, err := strconv.ParseInt(sh(t, c, "date +%s%N"), 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		if off := time.Unix(0, clock).Sub(before); off < -2*time.Second || off > 2*time.Second+time.Since(before) {
			t.Errorf("%s: its clock is off by %s", m.Name, off)
		} else {
			t.Logf("%s: its clock is off by %s", m.Name, off)
		}
		if got := sh(t, c, "hostname; cat /etc/hostname; getent hosts "+string(m.Name)); strings.Count(got, string(m.Name)) != 3 {
			t.Errorf("%s: calls itself %q", m.Name, got)
		}
		for what, value := range map[string]string{
			"host key":                m.Endpoint.HostKeys[0],
			"machine id":              sh(t, c, "cat /etc/machine-id"),
			"address":                 sh(t, c, "cat /sys/class/net/eth0/address"),
			"randomness":              sh(t, c, "head -c 32 /dev/urandom | od -An -tx1"),
			"kernel's random numbers": sh(t, c, "cat /proc/sys/kernel/random/uuid"),
			"login key":               sh(t, c, "cat /root/.ssh/authorized_keys"),
		} {
			if other, ok := seen[what+value]; ok {
				t.Errorf("%s and %s have the same %s %s", other, m.Name, what, value)
			}
			seen[what+value] = m.Name
		}
	}

	stranger := machines[0].Endpoint
	stranger.Auth = machines[1].Endpoint.Auth
	if c, err := reach.Dial(t.Context(), stranger, reach.Options{}); !fault.Is(err, fault.AuthRefused) {
		t.Errorf("the login key of another machine: %v, want AuthRefused", err)
		c.Close()
	}
}

func TestFourAtOnce(t *testing.T) {
	p := qemutest.Open(t, qemutest.State(t), qemu.Config{})
	started := time.Now()
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			name := machine.NewName("t")
			m, err := p.Create(t.Context(), machine.Spec{Name: name, Owner: me})
			if err != nil {
				t.Error(err)
				return
			}
			t.Logf("%s after %s", name, time.Since(started))
			c, err := reach.Dial(t.Context(), m.Endpoint, reach.Options{})
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			out, _, err := c.Output(t.Context(), "hostname", nil)
			if got := strings.TrimSpace(string(out)); err != nil || got != string(name) {
				t.Errorf("%s calls itself %q (%v)", name, got, err)
			}
		})
	}
	all.Wait()
	machines, err := p.List(t.Context(), me)
	if err != nil || len(machines) != 4 {
		t.Errorf("list: %d machines, %v, want 4", len(machines), err)
	}
}

// TestWhatAMachineReaches: everything unless the provider is isolated, and then nothing.
func TestWhatAMachineReaches(t *testing.T) {
	state := qemutest.State(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name     string
		isolated bool
		want     string
	}{
		{"open", false, "reached"},
		{"isolated", true, "refused"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := qemutest.Open(t, state, qemu.Config{Isolated: tt.isolated})
			c := dial(t, create(t, p, machine.Spec{}))
			got := sh(t, c, "if timeout 5 bash -c 'exec 3<>/dev/tcp/10.0.2.2/"+port+"' 2>/dev/null; then echo reached; else echo refused; fi")
			if got != tt.want {
				t.Errorf("this computer's loopback interface is %s, want %s", got, tt.want)
			}
		})
	}
}
