// Package local is the built-in provider: throwaway machines on this computer
// that need nothing installed. Each is an SSH server in a process of its own, with a
// home and a key of its own, on a port of the loopback interface.
//
// It isolates nothing. What runs on such a machine runs as the user who made
// it and can read and change whatever that user can. It is for trying things and for tests.
package local

import (
	"context"
	"log/slog"

	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/machine"
	"outrigger.dev/outrigger/internal/provider"
)

// Config is what the configuration file may say. There is nothing to say yet.
type Config struct{}

// ServeCommand is the hidden first argument under which a program that uses
// this package must call [ServeMain] with the arguments that follow.
const ServeCommand = "__local-machine"

// A Provider makes machines that are processes here.
type Provider struct{}

var _ provider.Provider = (*Provider)(nil)

// New returns the provider called name. state is the folder for its files,
// "<state>/local". self is the command that runs [ServeMain]; empty means this executable with [ServeCommand].
func New(name string, _ Config, state string, self []string, log *slog.Logger) (*Provider, error) {
	return nil, fault.New(fault.Internal, "local: not there yet")
}

// Create implements [provider.Provider].
func (p *Provider) Create(ctx context.Context, spec machine.Spec) (machine.Machine, error) {
	return machine.Machine{}, fault.New(fault.Internal, "local: not there yet")
}

// Get implements [provider.Provider].
func (p *Provider) Get(ctx context.Context, name machine.Name) (machine.Machine, error) {
	return machine.Machine{}, fault.New(fault.Internal, "local: not there yet")
}

// List implements [provider.Provider].
func (p *Provider) List(ctx context.Context, owner machine.Owner) ([]machine.Machine, error) {
	return nil, fault.New(fault.Internal, "local: not there yet")
}

// Delete implements [provider.Provider].
func (p *Provider) Delete(ctx context.Context, name machine.Name) error {
	return fault.New(fault.Internal, "local: not there yet")
}

// ServeMain is the process of one machine: it serves SSH until the machine
// expires or is deleted. It returns the exit code.
func ServeMain(args []string) int { return 125 }
