// Package remove is outrigger vm delete.
package remove

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"outrigger.dev/outrigger/internal/cli/app"
	"outrigger.dev/outrigger/internal/fault"
)

// New returns the command.
func New(a *app.App) *cobra.Command {
	return &cobra.Command{
		Use:     "delete NAME...",
		Aliases: []string{"rm"},
		Short:   "Delete machines",
		Long: `Delete machines with everything on them. One that a run or a shell is using is
left alone, and the exit code is 125.`,
		Example: "  outrigger vm delete box",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return app.Args("NAME")(cmd, args)
			}
			return nil
		},
		RunE: app.Run(func(ctx context.Context, args []string) error {
			var errs []error
			for _, name := range args {
				errs = append(errs, run(ctx, a, name))
			}
			return errors.Join(errs...)
		}),
		ValidArgsFunction: a.CompleteMachines,
	}
}

func run(ctx context.Context, a *app.App, name string) error {
	entry, p, err := a.Hold(ctx, name)
	if err != nil {
		return err
	}
	rec := entry.Record()
	if err := p.Delete(ctx, rec.Name); err != nil {
		// The record stays: the machine may still be there.
		return errors.Join(fault.New(fault.Of(err), "machine %s: delete: %w", rec.Name, err), entry.Release())
	}
	if err := entry.Remove(); err != nil {
		return err
	}
	if a.Flags.Quiet {
		return nil
	}
	_, err = fmt.Fprintln(a.IO.Out, rec.Name)
	return err
}
