// Package outpost is outrigger outpost: ways into private networks.
package outpost

import (
	"github.com/spf13/cobra"

	"outrigger.dev/outrigger/internal/cli/app"
	"outrigger.dev/outrigger/internal/cli/outpost/connect"
	"outrigger.dev/outrigger/internal/cli/outpost/hub"
	"outrigger.dev/outrigger/internal/cli/outpost/initialize"
	"outrigger.dev/outrigger/internal/cli/outpost/pass"
	"outrigger.dev/outrigger/internal/cli/outpost/token"
)

// New returns the command with those below it.
func New(a *app.App) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "outpost",
		Short: "Reach machines in private networks",
		Long: `Reach machines in networks that nothing outside can dial into.

An outpost is one process in such a network. It dials out to a hub, on one TLS
port, and connects inside to what its own list allows. Whoever has a pass asks
the hub for connections.`,
		Example: `  outrigger outpost init keys --name hub.example.com
  outrigger outpost token orka/east --dir keys > east.token
  outrigger outpost hub --dir keys/hub --listen :443
  outrigger outpost connect https://hub.example.com --token-file east.token --allow mac:22`,
	}
	cmd.AddCommand(connect.New(a), hub.New(a), initialize.New(a), token.New(a), pass.New(a))
	return app.Group(cmd)
}
