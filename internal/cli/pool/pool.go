// Package pool is outrigger pool: what the pools of a cluster have and who waits for them.
package pool

import (
	"github.com/spf13/cobra"

	"outrigger.dev/outrigger/internal/cli/app"
	"outrigger.dev/outrigger/internal/cli/pool/list"
	"outrigger.dev/outrigger/internal/cli/pool/status"
)

// New returns the command with those below it.
func New(a *app.App) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "pool",
		Short: "Look at the machine pools of a Kubernetes cluster",
		Example: `  outrigger pool list
  outrigger pool status xcode-16`,
	}
	cmd.AddCommand(list.New(a), status.New(a))
	return app.Group(cmd)
}
