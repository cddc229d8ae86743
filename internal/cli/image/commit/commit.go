// Package commit is outrigger image commit.
package commit

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
		Use:   "commit MACHINE",
		Short: "Write a running machine over the image it was made from",
		Long: `Write a running machine over the image that it was made from. What was there is lost:
outrigger image save makes a new image.`,
		Example:           "  outrigger image commit box",
		Args:              app.Args("MACHINE"),
		RunE:              app.Run(func(ctx context.Context, args []string) error { return run(ctx, a, args[0]) }),
		ValidArgsFunction: a.CompleteMachines,
	}
}

func run(ctx context.Context, a *app.App, name string) error {
	m, p, err := a.Machine(ctx, name)
	if err != nil {
		return err
	}
	committer, ok := provider.As[provider.ImageCommitter](p)
	if !ok {
		return fault.New(fault.ProviderRefused, "machine %s: provider %s cannot overwrite images", m.Name, m.Provider).
			WithRemedy("Save it under a new name: outrigger image save %s IMAGE", m.Name)
	}
	display := a.Display()
	defer display.Close()
	display.Phase(progress.Save, string(m.Name))
	image, err := committer.CommitImage(ctx, m.Name)
	if err != nil {
		return err
	}
	display.Done(progress.Bytes(image.Bytes))
	if a.JSON() {
		return table.Value(a.IO.Out, image)
	}
	_, err = fmt.Fprintln(a.IO.Out, image.Name)
	return err
}
