package sshhost

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/machine"
)

func newMemoryAt(now *time.Time) *memory {
	m := newMemory()
	m.now = func() time.Time { return *now }
	return m
}

func TestSilentHostIsLeftAloneForAWhile(t *testing.T) {
	now := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	m := newMemoryAt(&now)
	silence := fault.New(fault.Unreachable, "dial tcp: i/o timeout")
	for n, want := range []int{2, 4, 8, 16, 32, 60, 60} {
		m.answered("mac", silence)
		err := m.away("mac")
		if !fault.Is(err, fault.Unreachable) || !errors.Is(err, silence) || !strings.Contains(err.Error(), "i/o timeout") {
			t.Fatalf("after %d failures: %v; want Unreachable, and why", n+1, err)
		}
		now = now.Add(time.Duration(want)*time.Second - 1)
		if m.away("mac") == nil {
			t.Errorf("after %d failures it is asked again before %ds", n+1, want)
		}
		now = now.Add(1)
		if err := m.away("mac"); err != nil {
			t.Errorf("after %d failures and %ds: %v", n+1, want, err)
		}
	}
	if err := m.away("other"); err != nil {
		t.Errorf("another host: %v", err)
	}
	m.answered("mac", nil)
	m.answered("mac", silence)
	now = now.Add(2 * time.Second)
	if err := m.away("mac"); err != nil {
		t.Errorf("a host that had answered in between begins anew: %v", err)
	}
}

// What says that a host is there, or nothing of it, is no silence.
func TestWhatIsNoSilence(t *testing.T) {
	for _, err := range []error{nil, fault.New(fault.AuthRefused, "no"), fault.New(fault.HostKey, "no"), fault.New(fault.Unreachable, "%w", errOutrun)} {
		m := newMemory()
		m.answered("mac", err)
		if away := m.away("mac"); away != nil {
			t.Errorf("%v: %v", err, away)
		}
	}
}

func TestWhereAMachineMayBe(t *testing.T) {
	m := newMemory()
	both := func(may func(machine.Name, string) bool) string { return fmt.Sprint(may("m", "a"), may("m", "b")) }
	for _, step := range []struct {
		name     string
		do       func()
		be, hold string
	}{
		{"nothing is known", func() {}, "true true", "true true"},
		{"nobody was asked yet", func() { m.ask("m", "") }, "true true", "false false"},
		{"one was asked", func() { m.ask("m", "a") }, "true true", "true false"},
		{"it is on the other", func() { m.live("m", "b") }, "false true", "false true"},
		{"it is gone", func() { m.forget("m", true) }, "true true", "true true"},
		{"refused everywhere", func() { m.ask("m", ""); m.forget("m", false) }, "true true", "false false"},
	} {
		step.do()
		if be, hold := both(m.mayBe), both(m.mayHold); be != step.be || hold != step.hold {
			t.Errorf("%s: may be on %s, may be held by %s; want %s, %s", step.name, be, hold, step.be, step.hold)
		}
	}
}

// A pool whose creations fail for weeks does not grow the controller.
func TestMemoryIsBounded(t *testing.T) {
	m := newMemory()
	for i := range 3 * mostMachines {
		name := machine.Name(fmt.Sprint("m", i))
		m.ask(name, "")
		m.forget(name, false)
	}
	if len(m.machines) > mostMachines || len(m.order) > mostMachines {
		t.Errorf("%d machines, %d names are remembered; want at most %d", len(m.machines), len(m.order), mostMachines)
	}
	if last := machine.Name(fmt.Sprint("m", 3*mostMachines-1)); m.mayHold(last, "a") {
		t.Errorf("the last one is forgotten")
	}
}
