// Package logs is outrigger vm logs.
package logs

import (
	"context"
	"io"

	"github.com/spf13/cobra"

	"outrigger.dev/outrigger/internal/cli/app"
	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/provider"
	"outrigger.dev/outrigger/internal/sanitize"
)

// Options are the command's flags.
type Options struct{ Bytes int }

// New returns the command.
func New(a *app.App) *cobra.Command {
	o := Options{Bytes: 64 << 10}
	cmd := &cobra.Command{
		Use:               "logs NAME",
		Aliases:           []string{"console"},
		Short:             "Print the end of a machine's console",
		Example:           "  outrigger vm logs box",
		Args:              app.Args("NAME"),
		RunE:              app.Run(func(ctx context.Context, args []string) error { return run(ctx, a, args[0], o) }),
		ValidArgsFunction: a.CompleteMachines,
	}
	cmd.Flags().IntVar(&o.Bytes, "bytes", o.Bytes, "how `many` bytes at most")
	return cmd
}

func run(ctx context.Context, a *app.App, name string, o Options) error {
	if o.Bytes < 1 {
		return fault.New(fault.Usage, "vm logs: --bytes %d: want at least 1", o.Bytes)
	}
	m, p, err := a.Machine(ctx, name)
	if err != nil {
		return err
	}
	console, ok := provider.As[provider.Console](p)
	if !ok {
		return fault.New(fault.ProviderRefused, "machine %s: machines of provider %s have no console", m.Name, m.Provider)
	}
	text, err := console.ConsoleTail(ctx, m.Name, o.Bytes)
	if err != nil {
		return err
	}
	if a.IO.OutIsTerminal() { // a console's last words are the machine's, and as raw as it likes
		text = sanitize.Text(text, 4*len(text))
	}
	_, err = io.WriteString(a.IO.Out, text)
	return err
}
