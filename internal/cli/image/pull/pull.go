// Package pull is outrigger image pull.
package pull

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"outrigger.dev/outrigger/internal/cli/app"
	"outrigger.dev/outrigger/internal/cli/progress"
	"outrigger.dev/outrigger/internal/cli/table"
	"outrigger.dev/outrigger/internal/provider"
)

// Options are the command's flags.
type Options struct{ On string }

// New returns the command.
func New(a *app.App) *cobra.Command {
	var o Options
	cmd := &cobra.Command{
		Use:   "pull REMOTE [IMAGE]",
		Short: "Copy an image from the provider's catalogue into its storage",
		Long: `Copy an image from a catalogue elsewhere into the provider's own storage, under its
own name or as IMAGE. At MacStadium Orka that is the catalogue of remote images
(orka3 remote-image list). Machines of an image in a registry are made by its
reference: nothing is pulled for them, and outrigger image cache has the nodes fetch it.`,
		Example: "  outrigger image pull --on orka sonoma-90gb-orka3-arm sonoma",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				return nil
			}
			return app.Args("REMOTE", "IMAGE")(cmd, args)
		},
		RunE: app.Run(func(ctx context.Context, args []string) error {
			return run(ctx, a, o, args[0], args[len(args)-1])
		}),
	}
	cmd.Flags().StringVar(&o.On, "on", "", "`provider` that pulls it (default: the one that can)")
	app.ProviderIsOn(cmd)
	a.CompleteFlag(cmd, "on", a.CompleteProviders)
	return cmd
}

func run(ctx context.Context, a *app.App, o Options, remote, image string) error {
	who, err := app.TheOneThatCan[provider.ImagePuller](ctx, a, o.On, "pull images")
	if err != nil {
		return err
	}
	display := a.Display()
	defer display.Close()
	display.Phase(progress.Pull, remote)
	pulled, err := who.Can.PullImage(ctx, remote, image)
	if err != nil {
		return err
	}
	display.Done(progress.Bytes(pulled.Bytes))
	if a.JSON() {
		return table.Value(a.IO.Out, pulled)
	}
	_, err = fmt.Fprintln(a.IO.Out, pulled.Name)
	return err
}
