// Package save is outrigger image save.
package save

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"outrigger.dev/outrigger/internal/cli/app"
	"outrigger.dev/outrigger/internal/cli/progress"
	"outrigger.dev/outrigger/internal/cli/table"
	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/provider"
)

// New returns the command.
func New(a *app.App) *cobra.Command {
	return &cobra.Command{
		Use:   "save MACHINE IMAGE",
		Short: "Make an image from a running machine",
		Long: `Make an image from a running machine, as docker commit does. The machine keeps
running.`,
		Example:           "  outrigger image save box with-clang",
		Args:              app.Args("MACHINE", "IMAGE"),
		RunE:              app.Run(func(ctx context.Context, args []string) error { return run(ctx, a, args[0], args[1]) }),
		ValidArgsFunction: a.CompleteMachines,
	}
}

func run(ctx context.Context, a *app.App, name, image string) error {
	m, p, err := a.Machine(ctx, name)
	if err != nil {
		return err
	}
	saver, ok := provider.As[provider.ImageSaver](p)
	if !ok {
		return fault.New(fault.ProviderRefused, "machine %s: provider %s cannot save images", m.Name, m.Provider)
	}
	display := a.Display()
	defer display.Close()
	display.Phase(progress.Save, image)
	saved, err := saver.SaveImage(ctx, m.Name, image)
	if err != nil {
		return err
	}
	display.Done(progress.Bytes(saved.Bytes))
	if a.JSON() {
		return table.Value(a.IO.Out, saved)
	}
	_, err = fmt.Fprintln(a.IO.Out, saved.Name)
	return err
}
