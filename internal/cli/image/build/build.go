// Package build is outrigger image build.
package build

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"outrigger.dev/outrigger/internal/cli/app"
	"outrigger.dev/outrigger/internal/cli/progress"
	"outrigger.dev/outrigger/internal/cli/table"
	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/provider"
)

// Options are the command's flags.
type Options struct {
	On       string
	Name     string
	Packages []string
}

// New returns the command.
func New(a *app.App) *cobra.Command {
	var o Options
	cmd := &cobra.Command{
		Use:   "build [NAME]",
		Short: "Make a base image",
		Long: `Make a base image from what the provider can get, under the name that its
machines are made from unless they say otherwise, or under NAME.`,
		Example: `  outrigger image build --on qemu
  outrigger image build --on qemu --package clang --package cmake clang`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 1 {
				return app.Args("NAME")(cmd, args)
			}
			return nil
		},
		RunE: app.Run(func(ctx context.Context, args []string) error {
			if len(args) > 0 {
				o.Name = args[0]
			}
			return run(ctx, a, o)
		}),
	}
	cmd.Flags().StringVar(&o.On, "on", "", "`provider` to build for (default: the one that can)")
	cmd.Flags().StringArrayVar(&o.Packages, "package", nil, "further `package` to install, may be repeated")
	app.ProviderIsOn(cmd)
	a.CompleteFlag(cmd, "on", a.CompleteProviders)
	return cmd
}

func run(ctx context.Context, a *app.App, o Options) error {
	builder, err := app.TheOneThatCan[provider.ImageBuilder](ctx, a, o.On, "build images")
	if err != nil {
		return err
	}
	if o.Name == "" {
		if o.Name, err = defaultImage(a, builder.Name); err != nil {
			return err
		}
	}
	display := a.Display()
	defer display.Close()
	display.Phase(progress.Build, o.Name)
	built, err := builder.Can.BuildImage(ctx, provider.BuildSpec{
		Name: o.Name, Packages: o.Packages,
		Progress: func(stage string, _ time.Duration) { display.Stage(stage) },
	})
	if err != nil {
		return err
	}
	display.Done(progress.Bytes(built.Bytes))
	if a.JSON() {
		return table.Value(a.IO.Out, built)
	}
	_, err = fmt.Fprintln(a.IO.Out, built.Name)
	return err
}

// defaultImage is what the provider's machines are made from when nobody says.
func defaultImage(a *app.App, on string) (string, error) {
	cfg, err := a.Config()
	if err != nil {
		return "", err
	}
	_, e, err := cfg.Provider(on)
	if err != nil {
		return "", err
	}
	if e.QEMU == nil {
		return "", fault.New(fault.Usage, "image build: provider %s has no default image: NAME is missing", on)
	}
	return e.QEMU.Defaults().Image, nil
}
