//go:build linux

package orka_test

import (
	"testing"

	"outrigger.dev/outrigger/internal/devorka"
	"outrigger.dev/outrigger/internal/provider"
	"outrigger.dev/outrigger/internal/provider/orka"
	"outrigger.dev/outrigger/internal/provider/providertest"
)

// One Apple-silicon host has room for two VMs.
const host = 2

func TestContract(t *testing.T) {
	eachDoor(t, func(t *testing.T, door orka.Door) {
		providertest.Run(t, func(t *testing.T) providertest.Place {
			s := cluster(t, func(c *devorka.Config) { c.Hosts = 2 })
			cfg, state := config(t, s, door), t.TempDir()
			return providertest.Place{
				Open: func(t *testing.T) provider.Provider { return open(t, cfg, state) },
				Max:  2 * host,
				Left: func(*testing.T) []string { return vms(s) },
			}
		})
	})
}
