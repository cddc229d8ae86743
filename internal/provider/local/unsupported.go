//go:build !linux && !darwin

package local

import (
	"context"
	"log/slog"
	"net"
	"runtime"
	"time"

	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/machine"
	"outrigger.dev/outrigger/internal/provider"
)

// A Provider exists on this system in name only.
type Provider struct{}

var _ provider.Provider = (*Provider)(nil)

// New says why there is no such provider here.
func New(name string, _ Config, _ string, _ []string, _ *slog.Logger) (*Provider, error) {
	return nil, unsupported()
}

func unsupported() error {
	return fault.New(fault.ProviderRefused, "local: no machines on %s itself: what runs on one could not be found again to end it", runtime.GOOS).
		WithRemedy("Use a provider with real machines, such as ssh, or run Outrigger on Linux (WSL will do) or macOS.")
}

// Supported tells why there are no machines on this system.
func Supported() error { return unsupported() }

// Create implements [provider.Provider].
func (*Provider) Create(context.Context, machine.Spec) (machine.Machine, error) {
	return machine.Machine{}, unsupported()
}

// Get implements [provider.Provider].
func (*Provider) Get(context.Context, machine.Name) (machine.Machine, error) {
	return machine.Machine{}, unsupported()
}

// List implements [provider.Provider].
func (*Provider) List(context.Context, machine.Owner) ([]machine.Machine, error) { return nil, nil }

// Delete implements [provider.Provider].
func (*Provider) Delete(context.Context, machine.Name) error { return nil }

// ServeMain is never needed here.
func ServeMain([]string) int { return 1 }

// A GuestConfig exists on this system in name only.
type GuestConfig struct {
	User, Password string
	LoginAfter     time.Time
	Log            *slog.Logger
}

// A Guest exists on this system in name only.
type Guest struct{}

// OpenGuest says why there is no such machine here.
func OpenGuest(string, GuestConfig) (*Guest, error) { return nil, unsupported() }

// Home is nowhere.
func (*Guest) Home() string { return "" }

// Start is never called.
func (*Guest) Start() error { return unsupported() }

// Serve is never called.
func (*Guest) Serve(c net.Conn) { c.Close() }

// Stop is never called.
func (*Guest) Stop(context.Context) error { return unsupported() }

// Remove is never called.
func (*Guest) Remove(context.Context) error { return unsupported() }
