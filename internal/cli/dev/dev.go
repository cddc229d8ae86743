// Package dev is outrigger dev: what one needs to try Outrigger, and to test against it.
package dev

import (
	"github.com/spf13/cobra"

	"outrigger.dev/outrigger/internal/cli/app"
	"outrigger.dev/outrigger/internal/cli/dev/orka"
)

// New returns the command with those below it.
func New(a *app.App) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "dev",
		Short:   "Try things out without the hardware",
		Example: `  outrigger dev orka`,
	}
	cmd.AddCommand(orka.New(a))
	return app.Group(cmd)
}
