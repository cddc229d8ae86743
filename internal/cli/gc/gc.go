// Package gc is outrigger gc: it removes what killed runs left.
package gc

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"outrigger.dev/outrigger/internal/cli/app"
	"outrigger.dev/outrigger/internal/cli/progress"
	"outrigger.dev/outrigger/internal/cli/table"
	"outrigger.dev/outrigger/internal/sanitize"
)

// Options are the command's flags.
type Options struct {
	DryRun  bool
	Expired bool
}

// New returns the command.
func New(a *app.App) *cobra.Command {
	var o Options
	cmd := &cobra.Command{
		Use:   "gc",
		Short: "Remove what killed runs left",
		Long: `Remove what killed runs left: machines whose client is gone, machines whose time
is over, machines of this installation that nobody remembers, temporary files in
synced folders, and expired leases on machines that stay. What is in use is left
alone, so it may run at any time, also beside itself. So are machines with results
of a run that are not all here, until their time is over; they are listed, and
"outrigger fetch" gets them.

With --expired it also removes machines of other installations whose time is over,
as far as their provider says when that is: what Tasks have left whose Pods were
lost with their node.

What could not be removed is named, the rest is done all the same, and the exit
code is 125 then.`,
		Example: `  outrigger gc
  outrigger gc --dry-run --output json
  outrigger gc --expired`,
		Args: app.Args(),
		RunE: app.Run(func(ctx context.Context, _ []string) error { return run(ctx, a, o) }),
	}
	cmd.Flags().BoolVarP(&o.DryRun, "dry-run", "n", false, "only say which machines and leases would be removed")
	cmd.Flags().BoolVar(&o.Expired, "expired", false, "also machines of other installations whose time is over")
	return cmd
}

func run(ctx context.Context, a *app.App, o Options) error {
	display := a.Display()
	defer display.Close()
	display.Phase(progress.Collect, "")
	s := &sweeper{app: a, dryRun: o.DryRun, expired: o.Expired}
	err := s.sweep(ctx)
	display.Close()
	if a.JSON() {
		return app.First(err, table.JSON(a.IO.Out, s.items))
	}
	for _, item := range s.items {
		if _, perr := fmt.Fprintln(a.IO.Out, sanitize.Line(item.text(), 1<<10)); perr != nil {
			return app.First(err, perr)
		}
	}
	return err
}

// An Item is one thing that was removed, or would be, under --output json.
type Item struct {
	Kind     string `json:"kind"` // one of the Kinds
	Name     string `json:"name,omitempty"`
	Provider string `json:"provider,omitempty"`
	Why      string `json:"why"`
	Count    int    `json:"count,omitempty"` // of things without names
	DryRun   bool   `json:"dryRun,omitempty"`
	// Kept: it is left where it is, until then.
	Kept  bool       `json:"kept,omitempty"`
	Until *time.Time `json:"until,omitempty"`
}

// The kinds of what is left.
const (
	kindMachine   = "machine"
	kindTempFile  = "temporary file"    // of a sync, in a folder of the user's
	kindWorkspace = "remembered folder" // baseline of a sync to a machine that is gone
	kindLease     = "lease"             // on a machine that stays
	kindRun       = "run"               // whose results were not all fetched
)

func (i Item) text() string {
	verb := "removed"
	switch {
	case i.Kept:
		return fmt.Sprintf("kept %s %s on %s until %s: %s", i.Kind, i.Name, i.Provider, i.Until.Local().Format("2006-01-02 15:04"), i.Why)
	case i.DryRun:
		verb = "would remove"
	}
	if i.Count > 0 {
		return fmt.Sprintf("%s %s: %s", verb, progress.Count(int64(i.Count), i.Kind), i.Why)
	}
	return fmt.Sprintf("%s %s %s on %s: %s", verb, i.Kind, i.Name, i.Provider, i.Why)
}
