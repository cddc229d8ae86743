// Package version is outrigger version.
package version

import (
	"context"
	"fmt"
	"runtime"

	"github.com/spf13/cobra"

	"outrigger.dev/outrigger/internal/cli/app"
	"outrigger.dev/outrigger/internal/cli/table"
	"outrigger.dev/outrigger/internal/machine"
	"outrigger.dev/outrigger/internal/version"
)

// Info is the output under --output json.
type Info struct {
	Version  string           `json:"version"`
	Revision string           `json:"revision,omitempty"` // of the sources
	Go       string           `json:"go"`
	Platform machine.Platform `json:"platform"`
}

// New returns the command.
func New(a *app.App) *cobra.Command {
	return &cobra.Command{
		Use:     "version",
		Short:   "Tell which build this is",
		Example: "  outrigger version --output json",
		Args:    app.Args(),
		RunE:    app.Run(func(context.Context, []string) error { return run(a) }),
	}
}

func run(a *app.App) error {
	info := Info{
		Version: version.Version, Revision: version.Revision(), Go: runtime.Version(),
		Platform: machine.Platform{OS: runtime.GOOS, Arch: runtime.GOARCH},
	}
	if a.JSON() {
		return table.Value(a.IO.Out, info)
	}
	revision := ""
	if info.Revision != "" {
		revision = " (" + info.Revision[:min(12, len(info.Revision))] + ")"
	}
	_, err := fmt.Fprintf(a.IO.Out, "outrigger %s%s %s %s\n", info.Version, revision, info.Platform, info.Go)
	return err
}
