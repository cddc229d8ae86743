// Package sshhost lends out computers that exist already: a Mac mini on a
// shelf, a Linux box. A machine is a slot of a host, held by a lease that the
// agent keeps on the host itself, with an owner and an expiry; so two clients
// never share a slot, and what a dead client held comes free by itself.
package sshhost

import (
	"context"
	"log/slog"

	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/machine"
	"outrigger.dev/outrigger/internal/provider"
	"outrigger.dev/outrigger/internal/reach/deliver"
)

// A Provider lends slots of hosts.
type Provider struct{}

var _ provider.Provider = (*Provider)(nil)

// New checks cfg and returns the provider called name. It contacts nobody.
func New(name string, cfg Config, agents deliver.Source, log *slog.Logger) (*Provider, error) {
	return nil, fault.New(fault.Internal, "sshhost: not there yet")
}

// Create implements [provider.Provider]: it takes a free slot.
func (p *Provider) Create(ctx context.Context, spec machine.Spec) (machine.Machine, error) {
	return machine.Machine{}, fault.New(fault.Internal, "sshhost: not there yet")
}

// Get implements [provider.Provider].
func (p *Provider) Get(ctx context.Context, name machine.Name) (machine.Machine, error) {
	return machine.Machine{}, fault.New(fault.Internal, "sshhost: not there yet")
}

// List implements [provider.Provider]. The machines of hosts that answer are
// returned even when others do not; the error then names those.
func (p *Provider) List(ctx context.Context, owner machine.Owner) ([]machine.Machine, error) {
	return nil, fault.New(fault.Internal, "sshhost: not there yet")
}

// Delete implements [provider.Provider]: it gives the slot back.
func (p *Provider) Delete(ctx context.Context, name machine.Name) error {
	return fault.New(fault.Internal, "sshhost: not there yet")
}
