// Package remove is outrigger image delete.
package remove

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"outrigger.dev/outrigger/internal/cli/app"
	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/provider"
)

// Options are the command's flags.
type Options struct{ On string }

// New returns the command.
func New(a *app.App) *cobra.Command {
	var o Options
	cmd := &cobra.Command{
		Use:     "delete NAME...",
		Aliases: []string{"rm"},
		Short:   "Delete images",
		Long: `Delete images. One that machines or other images stand on is left alone, and the
exit code is 125.`,
		Example: "  outrigger image delete clang",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return app.Args("NAME")(cmd, args)
			}
			return nil
		},
		RunE: app.Run(func(ctx context.Context, args []string) error {
			var errs []error
			for _, name := range args {
				errs = append(errs, run(ctx, a, o, name))
			}
			return errors.Join(errs...)
		}),
	}
	cmd.Flags().StringVar(&o.On, "on", "", "`provider` that has it (default: the one that does)")
	app.ProviderIsOn(cmd)
	a.CompleteFlag(cmd, "on", a.CompleteProviders)
	return cmd
}

func run(ctx context.Context, a *app.App, o Options, name string) error {
	store, err := find(ctx, a, o.On, name)
	if err != nil {
		return err
	}
	if err := store.DeleteImage(ctx, name); err != nil {
		return err
	}
	if a.Flags.Quiet {
		return nil
	}
	_, err = fmt.Fprintln(a.IO.Out, name)
	return err
}

// find returns who has the image. Two that do must be told apart by the user.
func find(ctx context.Context, a *app.App, on, name string) (provider.ImageStore, error) {
	var named []string
	if on != "" {
		named = []string{on}
	}
	stores, err := app.WhoCan[provider.ImageStore](ctx, a, named, "keep images")
	if err != nil {
		return nil, err
	}
	var found []app.Capable[provider.ImageStore]
	var known []string
	for _, s := range stores {
		images, err := s.Can.Images(ctx)
		if err != nil {
			return nil, app.At(s.Name, err)
		}
		for _, i := range images {
			known = append(known, i.Name)
			if i.Name == name {
				found = append(found, s)
			}
		}
	}
	switch len(found) {
	case 0:
		return nil, fault.New(fault.UnknownImage, "image %q: not found%s", name, app.DidYouMean(name, known))
	case 1:
		return found[0].Can, nil
	}
	return nil, fault.New(fault.Usage, "image %q: %s and %s have one: say which with --on", name, found[0].Name, found[1].Name)
}
