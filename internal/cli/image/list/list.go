// Package list is outrigger image list.
package list

import (
	"context"
	"errors"
	"sort"

	"github.com/spf13/cobra"

	"outrigger.dev/outrigger/internal/cli/app"
	"outrigger.dev/outrigger/internal/cli/progress"
	"outrigger.dev/outrigger/internal/cli/table"
	"outrigger.dev/outrigger/internal/provider"
)

// Options are the command's flags.
type Options struct{ On []string }

// New returns the command.
func New(a *app.App) *cobra.Command {
	var o Options
	cmd := &cobra.Command{
		Use:     "list",
		Aliases: []string{"ls"},
		Short:   "List images",
		Example: "  outrigger image list --output json",
		Args:    app.Args(),
		RunE:    app.Run(func(ctx context.Context, _ []string) error { return run(ctx, a, o) }),
	}
	cmd.Flags().StringArrayVar(&o.On, "on", nil, "only images of this `provider`, may be repeated")
	app.ProviderIsOn(cmd)
	a.CompleteFlag(cmd, "on", a.CompleteProviders)
	return cmd
}

func run(ctx context.Context, a *app.App, o Options) error {
	stores, err := app.WhoCan[provider.ImageStore](ctx, a, o.On, "keep images")
	errs := []error{err}
	var images []provider.Image
	for _, s := range stores {
		found, err := s.Can.Images(ctx)
		images = append(images, found...)
		if err != nil {
			errs = append(errs, app.At(s.Name, err))
		}
	}
	sort.Slice(images, func(i, j int) bool {
		x, y := images[i], images[j]
		return x.Provider < y.Provider || x.Provider == y.Provider && x.Name < y.Name
	})
	return errors.Join(append([]error{show(a, images)}, errs...)...)
}

func show(a *app.App, images []provider.Image) error {
	if a.JSON() {
		return table.JSON(a.IO.Out, images)
	}
	t := table.Table{Columns: []string{"NAME", "PROVIDER", "PLATFORM", "BASE", "SIZE", "AGE"}}
	for _, i := range images {
		t.Add(i.Name, i.Provider, i.Platform.String(), i.Base, progress.Bytes(i.Bytes), table.Age(i.Created, a.IO.Now()))
	}
	return t.Write(a.IO.Out)
}
