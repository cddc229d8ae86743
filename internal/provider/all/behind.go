package all

import (
	"context"

	"outrigger.dev/outrigger/internal/machine"
	"outrigger.dev/outrigger/internal/provider"
)

// behind says of each machine which way leads to it.
type behind struct {
	provider.Provider
	via []machine.Via
}

// Unwrap serves [provider.As].
func (b *behind) Unwrap() provider.Provider { return b.Provider }

func (b *behind) Create(ctx context.Context, spec machine.Spec) (machine.Machine, error) {
	m, err := b.Provider.Create(ctx, spec)
	return b.tell(m), err
}

func (b *behind) Get(ctx context.Context, name machine.Name) (machine.Machine, error) {
	m, err := b.Provider.Get(ctx, name)
	return b.tell(m), err
}

func (b *behind) List(ctx context.Context, owner machine.Owner) ([]machine.Machine, error) {
	all, err := b.Provider.List(ctx, owner)
	for i := range all {
		all[i] = b.tell(all[i])
	}
	return all, err
}

func (b *behind) tell(m machine.Machine) machine.Machine {
	if m.Endpoint.Host != "" {
		m.Endpoint.Via = b.via
	}
	return m
}
