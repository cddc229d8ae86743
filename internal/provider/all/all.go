// Package all knows every provider that there is.
package all

import (
	"log/slog"

	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/provider"
	"outrigger.dev/outrigger/internal/provider/local"
	"outrigger.dev/outrigger/internal/provider/orka"
	"outrigger.dev/outrigger/internal/provider/qemu"
	"outrigger.dev/outrigger/internal/provider/sshhost"
	"outrigger.dev/outrigger/internal/reach/deliver"
)

// A Place is what providers need of the program that uses them.
type Place struct {
	State  string         // $XDG_STATE_HOME/outrigger
	Agents deliver.Source // for those that run the agent themselves
	Log    *slog.Logger
}

// Open returns the provider called name that config describes: the Config of
// one of the provider packages.
func Open(name string, config any, place Place) (provider.Provider, error) {
	switch c := config.(type) {
	case local.Config:
		return seam(local.New(name, c, place.State, nil, place.Log))
	case qemu.Config:
		return seam(qemu.New(name, c, place.State, place.Log))
	case orka.Config:
		return seam(orka.New(name, c, place.State, place.Log))
	case sshhost.Config:
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
