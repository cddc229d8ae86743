// Package all knows every provider that there is.
package all

import (
	"log/slog"
	"net"

	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/machine"
	"outrigger.dev/outrigger/internal/provider"
	"outrigger.dev/outrigger/internal/provider/local"
	"outrigger.dev/outrigger/internal/provider/orka"
	"outrigger.dev/outrigger/internal/provider/qemu"
	"outrigger.dev/outrigger/internal/provider/sshhost"
	"outrigger.dev/outrigger/internal/reach/deliver"
	"outrigger.dev/outrigger/internal/reach/via"
)

// A Place is what providers need of the program that uses them.
type Place struct {
	State  string         // $XDG_STATE_HOME/outrigger
	Agents deliver.Source // for those that run the agent themselves
	Log    *slog.Logger

	// Secret is what the keys of leases on hosts are derived from; none: they have none.
	Secret machine.Secret

	// Via is passed in order on the way to the provider's API and to its machines.
	Via     []machine.Via
	Tunnels via.Tunnels // for those steps that are WireGuard; may be nil
	// Dial connects to the API and, from here, to machines; nil: as Via says.
	Dial via.DialFunc
}

// dial is the way there; nil: TCP.
func (p Place) dial() (via.DialFunc, error) {
	if p.Dial != nil || len(p.Via) == 0 {
		return p.Dial, nil
	}
	return via.Through(new(net.Dialer).DialContext, p.Via, p.Tunnels)
}

// Open returns the provider called name that config describes: the Config of
// one of the provider packages.
func Open(name string, config any, place Place) (provider.Provider, error) {
	p, err := open(name, config, place)
	if err != nil || len(place.Via) == 0 {
		return p, err
	}
	return &behind{p, place.Via}, nil
}

func open(name string, config any, place Place) (provider.Provider, error) {
	dial, err := place.dial()
	if err != nil {
		return nil, fault.New(fault.Of(err), "provider %s: %w", name, err)
	}
	switch c := config.(type) {
	case local.Config:
		return seam(local.New(name, c, place.State, nil, place.Log))
	case qemu.Config:
		return seam(qemu.New(name, c, place.State, place.Log))
	case orka.Config:
		if dial != nil {
			c.Dial = dial
		}
		return seam(orka.New(name, c, place.State, place.Log))
	case sshhost.Config:
		if dial != nil {
			c.Dial = dial
		}
		c.Secret = place.Secret
		return seam(sshhost.New(name, c, place.Agents, place.Log))
	}
	return nil, fault.New(fault.Internal, "provider %s: no provider has a configuration of type %T", name, config)
}

// seam makes the seam's type of a provider, and of none a nil one: a nil
// pointer in an interface would not be nil.
func seam[P provider.Provider](p P, err error) (provider.Provider, error) {
	if err != nil {
		return nil, err
	}
	return p, nil
}
