// Package cache is outrigger image cache.
package cache

import (
	"context"
	"fmt"
	"sync"

	"github.com/spf13/cobra"

	"outrigger.dev/outrigger/internal/cli/app"
	"outrigger.dev/outrigger/internal/provider"
	"outrigger.dev/outrigger/internal/sanitize"
)

// Options are the command's flags.
type Options struct {
	On     string
	Node   []string
	Remove bool
}

// New returns the command.
func New(a *app.App) *cobra.Command {
	var o Options
	cmd := &cobra.Command{
		Use:   "cache IMAGE",
		Short: "Have the provider's hosts fetch an image beforehand",
		Long: `Have the provider's hosts fetch an image before a machine of it is wanted there. At
MacStadium Orka each node runs a VM of it for a moment, so it takes room; a node that
has none is told of, and the exit code is 125.

With --remove they forget it, which makes room.`,
		Example: `  outrigger image cache --on orka ghcr.io/macstadium/orka-images/sequoia:latest
  outrigger image cache --on orka --remove ghcr.io/macstadium/orka-images/ventura:latest`,
		Args: app.Args("IMAGE"),
		RunE: app.Run(func(ctx context.Context, args []string) error { return run(ctx, a, o, args[0]) }),
	}
	cmd.Flags().StringVar(&o.On, "on", "", "`provider` whose hosts fetch it (default: the one that can)")
	cmd.Flags().StringArrayVar(&o.Node, "node", nil, "only this `host`, may be repeated (default: all)")
	cmd.Flags().BoolVar(&o.Remove, "remove", false, "have them forget it instead")
	app.ProviderIsOn(cmd)
	a.CompleteFlag(cmd, "on", a.CompleteProviders)
	return cmd
}

func run(ctx context.Context, a *app.App, o Options, image string) error {
	if o.Remove {
		who, err := app.TheOneThatCan[provider.ImageUncacher](ctx, a, o.On, "have hosts forget images")
		if err != nil {
			return err
		}
		return who.Can.UncacheImage(ctx, image, o.Node)
	}
	who, err := app.TheOneThatCan[provider.ImageCacher](ctx, a, o.On, "fetch images beforehand")
	if err != nil {
		return err
	}
	var mu sync.Mutex
	return who.Can.CacheImage(ctx, image, o.Node, func(node string, err error) {
		mu.Lock()
		defer mu.Unlock()
		if err == nil && !a.Flags.Quiet {
			_, _ = fmt.Fprintln(a.IO.Out, sanitize.Line(node, 1<<10)) // the rest goes on if nobody reads it
		}
	})
}
