package all_test

import (
	"runtime"
	"testing"

	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/provider/all"
	"outrigger.dev/outrigger/internal/provider/local"
	"outrigger.dev/outrigger/internal/provider/qemu"
	"outrigger.dev/outrigger/internal/provider/sshhost"
)

func TestOpen(t *testing.T) {
	place := all.Place{State: t.TempDir()}
	hosts := sshhost.Config{Hosts: []sshhost.Host{{Login: sshhost.Login{Address: "mac"}}}}
	for name, config := range map[string]any{"local": local.Config{}, "vm": qemu.Config{}, "lab": hosts} {
		p, err := all.Open(name, config, place)
		if name == "local" && runtime.GOOS == "windows" {
			if !fault.Is(err, fault.ProviderRefused) {
				t.Errorf("local on Windows: %v", err)
			}
			continue
		}
		if p == nil || err != nil {
			t.Errorf("%s: %v, %v", name, p, err)
		}
	}
	if _, err := all.Open("x", 7, place); !fault.Is(err, fault.Internal) {
		t.Errorf("a configuration of no provider: %v", err)
	}
	if p, err := all.Open("lab", sshhost.Config{}, place); !fault.Is(err, fault.Config) || p != nil {
		t.Errorf("a bad configuration: %v, %v; want a fault and no provider", p, err)
	}
}
