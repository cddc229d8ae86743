// Package config is outrigger config.
package config

import (
	"github.com/spf13/cobra"

	"outrigger.dev/outrigger/internal/cli/app"
	"outrigger.dev/outrigger/internal/cli/config/check"
	"outrigger.dev/outrigger/internal/cli/config/path"
)

// New returns the command with those below it.
func New(a *app.App) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "config",
		Short:   "Look at the configuration",
		Example: "  outrigger config check",
	}
	cmd.AddCommand(check.New(a), path.New(a))
	return app.Group(cmd)
}
