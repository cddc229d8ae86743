package app

import (
	"context"
	"errors"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/provider"
)

// A Capable is a provider that can do T.
type Capable[T any] struct {
	Name string
	Can  T
}

// WhoCan returns the providers named on, or all that are configured, that can
// do T. One that was named and cannot is an error; what says the rest.
func WhoCan[T any](ctx context.Context, a *App, on []string, what string) ([]Capable[T], error) {
	cfg, err := a.Config()
	if err != nil {
		return nil, err
	}
	names := on
	if len(on) == 0 {
		names = cfg.Names()
	}
	var able []Capable[T]
	var errs []error
	for _, name := range names {
		name, p, err := a.Provider(ctx, name)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		if can, ok := provider.As[T](p); ok {
			able = append(able, Capable[T]{name, can})
			continue
		}
		if len(on) > 0 {
			errs = append(errs, fault.New(fault.ProviderRefused, "provider %s: cannot %s", name, what))
		}
	}
	return able, errors.Join(errs...)
}

// TheOneThatCan is WhoCan where exactly one is wanted: the one named on, else
// the default provider if it can, else the only one that can.
func TheOneThatCan[T any](ctx context.Context, a *App, on, what string) (Capable[T], error) {
	var named []string
	if on != "" {
		named = []string{on}
	}
	able, err := WhoCan[T](ctx, a, named, what)
	if err != nil && len(able) != 1 {
		return Capable[T]{}, err
	}
	cfg, err := a.Config()
	if err != nil {
		return Capable[T]{}, err
	}
	var names []string
	for _, c := range able {
		if c.Name == cfg.Default {
			return c, nil
		}
		names = append(names, c.Name)
	}
	switch len(able) {
	case 0:
		return Capable[T]{}, fault.New(fault.ProviderRefused, "no configured provider can %s", what)
	case 1:
		return able[0], nil
	}
	return Capable[T]{}, fault.New(fault.Usage, "several providers can %s: say which with --on: %s", what, strings.Join(names, ", "))
}

// ProviderIsOn lets --provider be said for --on, as in
// "outrigger image build --provider qemu".
func ProviderIsOn(cmd *cobra.Command) {
	cmd.Flags().SetNormalizeFunc(func(_ *pflag.FlagSet, name string) pflag.NormalizedName {
		if name == "provider" {
			name = "on"
		}
		return pflag.NormalizedName(name)
	})
}
