// Package vm is outrigger vm: machines that stay longer than one command.
package vm

import (
	"github.com/spf13/cobra"

	"outrigger.dev/outrigger/internal/cli/app"
	"outrigger.dev/outrigger/internal/cli/vm/cp"
	"outrigger.dev/outrigger/internal/cli/vm/create"
	"outrigger.dev/outrigger/internal/cli/vm/list"
	"outrigger.dev/outrigger/internal/cli/vm/logs"
	"outrigger.dev/outrigger/internal/cli/vm/remove"
	"outrigger.dev/outrigger/internal/cli/vm/shell"
)

// New returns the command with those below it.
func New(a *app.App) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "vm",
		Short: "Make, use and delete machines that stay",
		Example: `  outrigger vm create --name box
  outrigger run --on box -- make test
  outrigger vm shell box
  outrigger vm delete box`,
	}
	cmd.AddCommand(list.New(a), create.New(a), remove.New(a), shell.New(a), cp.New(a), logs.New(a))
	return app.Group(cmd)
}
