// Package push is outrigger image push.
package push

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"outrigger.dev/outrigger/internal/cli/app"
	"outrigger.dev/outrigger/internal/cli/progress"
	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/provider"
)

// New returns the command.
func New(a *app.App) *cobra.Command {
	return &cobra.Command{
		Use:   "push MACHINE REFERENCE",
		Short: "Put a running machine's disk into a registry",
		Long: `Put a running machine's disk into a registry, from where machines are made by the
reference. The provider does it with the credentials that it has of the registry.`,
		Example:           "  outrigger image push box ghcr.io/example/macs/xcode:16",
		Args:              app.Args("MACHINE", "REFERENCE"),
		RunE:              app.Run(func(ctx context.Context, args []string) error { return run(ctx, a, args[0], args[1]) }),
		ValidArgsFunction: a.CompleteMachines,
	}
}

func run(ctx context.Context, a *app.App, name, reference string) error {
	m, p, err := a.Machine(ctx, name)
	if err != nil {
		return err
	}
	pusher, ok := provider.As[provider.ImagePusher](p)
	if !ok {
		return fault.New(fault.ProviderRefused, "machine %s: provider %s cannot push images", m.Name, m.Provider)
	}
	display := a.Display()
	defer display.Close()
	display.Phase(progress.Save, reference)
	if err := pusher.PushImage(ctx, m.Name, reference); err != nil {
		return err
	}
	display.Done("pushed")
	if a.Flags.Quiet {
		return nil
	}
	_, err = fmt.Fprintln(a.IO.Out, reference)
	return err
}
