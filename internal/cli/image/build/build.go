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
	Script   ScriptOptions

	changed func(flag string) bool
}

// New returns the command.
func New(a *app.App) *cobra.Command {
	var o Options
	cmd := &cobra.Command{
		Use:   "build [NAME]",
		Short: "Make an image",
		Long: `Make a base image from what the provider can get, under the name that its
machines are made from unless they say otherwise, or under NAME.

With --script, make an image from another one: a machine of --base, the files, the
script run on it, its disk saved. The image's name is NAME and a digest of all that,
and is printed; if there is one of that name nothing is done. Below --on qemu and
--on orka alike.

The script runs as the machine's user in its home folder, by the interpreter of its
first line, else by bash, or PowerShell on Windows. In sh, bash and zsh a command that
fails ends it (set -e), and the error says which line it was; the exit code is the
script's. --file SRC:DST puts a file or a folder there before; DST begins with / or
~/, and with / at its end means the folder that receives it.`,
		Example: `  outrigger image build --on qemu
  outrigger image build --on qemu --package clang --package cmake clang
  outrigger image build --on orka --script setup.sh --file Brewfile:~/Brewfile xcode
  outrigger image build --script setup.sh --keep-on-failure=1h tools
  outrigger run --image "$(outrigger image build -q --script setup.sh tools)" -- make`,
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
			if err := o.check(); err != nil {
				return err
			}
			if o.Script.File != "" {
				return fromScript(ctx, a, o)
			}
			return run(ctx, a, o)
		}),
	}
	cmd.Flags().StringVar(&o.On, "on", "", "`provider` to build for (default: the one that can)")
	cmd.Flags().StringArrayVar(&o.Packages, "package", nil, "further `package` to install, may be repeated")
	o.Script.add(cmd.Flags())
	o.changed = cmd.Flags().Changed
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
