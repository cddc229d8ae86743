// Package hub is outrigger outpost hub.
package hub

import (
	"context"
	"net"

	"github.com/spf13/cobra"

	"outrigger.dev/outrigger/internal/cli/app"
	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/outpost/hub"
)

// Options are the command's flags.
type Options struct {
	Dir    string
	Listen string
}

// New returns the command.
func New(a *app.App) *cobra.Command {
	o := Options{Listen: ":8443"}
	cmd := &cobra.Command{
		Use:   "hub --dir DIR",
		Short: "Be the hub where outposts and their users meet",
		Long: `Be the hub: keep the sessions of outposts and make connections through them for
whoever has a pass. Everything that the hub knows is in one folder, which
outrigger outpost init makes; it is read again when it changes, so tokens, keys
and certificates are replaced without a restart.

It runs until it is stopped.`,
		Example: `  outrigger outpost hub --dir keys/hub --listen :443`,
		Args:    app.Args(),
		RunE:    app.Run(func(ctx context.Context, _ []string) error { return run(ctx, a, o) }),
	}
	cmd.Flags().StringVar(&o.Dir, "dir", "", "`folder` with tls.crt, tls.key, tokens, pass.pub and perhaps networks.yaml")
	cmd.Flags().StringVar(&o.Listen, "listen", o.Listen, "`address` to listen on")
	return cmd
}

func run(ctx context.Context, a *app.App, o Options) error {
	if o.Dir == "" {
		return fault.New(fault.Usage, "outpost hub: --dir is missing").WithRemedy("Make the folder with: outrigger outpost init DIR")
	}
	log := a.ServiceLog()
	h, err := hub.New(hub.Config{Dir: o.Dir, Log: log, Tunnels: a.Tunnels()})
	if err != nil {
		return err
	}
	ln, err := new(net.ListenConfig).Listen(ctx, "tcp", o.Listen)
	if err != nil {
		return fault.New(fault.Usage, "outpost hub: listen: %w", err)
	}
	log.Info("hub listens", "address", ln.Addr().String())
	return h.Serve(ctx, ln)
}
