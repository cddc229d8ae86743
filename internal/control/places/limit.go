package places

import (
	"context"

	"golang.org/x/time/rate"

	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/machine"
	"outrigger.dev/outrigger/internal/provider"
)

// callRate and callBurst are what one provider is asked: clouds answer more than about ten calls
// a second with a refusal to answer.
const (
	callRate  = 10
	callBurst = 30
)

// limited spreads the calls to a provider. Pools with a provider of their own do
// not hold each other up.
type limited struct {
	provider.Provider
	calls *rate.Limiter
}

func limit(p provider.Provider) *limited {
	return &limited{p, rate.NewLimiter(callRate, callBurst)}
}

// Unwrap serves [provider.As].
func (l *limited) Unwrap() provider.Provider { return l.Provider }

func (l *limited) wait(ctx context.Context) error {
	if err := l.calls.Wait(ctx); err != nil {
		return fault.New(fault.ProviderDown, "the provider was not asked, since it is asked too much: %w", err)
	}
	return nil
}

func (l *limited) Create(ctx context.Context, spec machine.Spec) (machine.Machine, error) {
	if err := l.wait(ctx); err != nil {
		return machine.Machine{}, err
	}
	return l.Provider.Create(ctx, spec)
}

func (l *limited) Get(ctx context.Context, name machine.Name) (machine.Machine, error) {
	if err := l.wait(ctx); err != nil {
		return machine.Machine{}, err
	}
	return l.Provider.Get(ctx, name)
}

func (l *limited) List(ctx context.Context, owner machine.Owner) ([]machine.Machine, error) {
	if err := l.wait(ctx); err != nil {
		return nil, err
	}
	return l.Provider.List(ctx, owner)
}

func (l *limited) Delete(ctx context.Context, name machine.Name) error {
	if err := l.wait(ctx); err != nil {
		return err
	}
	return l.Provider.Delete(ctx, name)
}
