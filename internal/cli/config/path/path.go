// Package path is outrigger config path.
package path

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/spf13/cobra"

	"outrigger.dev/outrigger/internal/cli/app"
	"outrigger.dev/outrigger/internal/cli/table"
	"outrigger.dev/outrigger/internal/fault"
)

// Paths is the output under --output json.
type Paths struct {
	Config string `json:"config"` // the file that is read
	Exists bool   `json:"exists"`
	State  string `json:"state"` // folder of the ledger and of the machines made here
}

// New returns the command.
func New(a *app.App) *cobra.Command {
	return &cobra.Command{
		Use:   "path",
		Short: "Print which file is read",
		Long: `Print which file is read: what --config names, else OUTRIGGER_CONFIG, else
outrigger/config.yaml in XDG_CONFIG_HOME (~/.config). It need not exist.`,
		Example: `  $EDITOR "$(outrigger config path)"`,
		Args:    app.Args(),
		RunE:    app.Run(func(context.Context, []string) error { return run(a) }),
	}
}

func run(a *app.App) error {
	dirs, err := a.Dirs()
	if err != nil {
		return err
	}
	file, _, err := dirs.File(a.Flags.Config, a.IO.Getenv)
	if err != nil {
		return err
	}
	if !a.JSON() {
		_, err = fmt.Fprintln(a.IO.Out, file)
		return err
	}
	_, err = os.Stat(file)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fault.New(fault.Config, "config: %w", err)
	}
	return table.Value(a.IO.Out, Paths{Config: file, Exists: err == nil, State: dirs.State})
}
