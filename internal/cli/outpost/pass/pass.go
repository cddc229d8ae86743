// Package pass is outrigger outpost pass.
package pass

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"outrigger.dev/outrigger/internal/cli/app"
	"outrigger.dev/outrigger/internal/cli/table"
	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/outpost/allow"
	"outrigger.dev/outrigger/internal/outpost/creds"
)

// Options are the command's flags.
type Options struct {
	Key     string
	To      []string
	For     string
	Expires time.Duration
}

// An Item is what was made, under --output json.
type Item struct {
	Network string    `json:"network"`
	To      []string  `json:"to"`
	For     string    `json:"for"`
	Expires time.Time `json:"expires"`
	Pass    string    `json:"pass"`
}

// New returns the command.
func New(a *app.App) *cobra.Command {
	o := Options{Expires: 24 * time.Hour}
	cmd := &cobra.Command{
		Use:   "pass NETWORK --key FILE --to HOST:PORTS...",
		Short: "Make a pass with which a hub connects somebody",
		Long: `Make a pass and print it: whoever has it may ask the hub for connections to these
addresses of NETWORK until it expires. Passes are stored nowhere and cannot be
withdrawn one by one: a hub that is given another pass.pub believes none of the
old ones.

The controller makes passes by itself, one for each machine.`,
		Example: `  outrigger outpost pass orka --key keys/pass.key --to '10.221.188.0/24:*' > orka.pass`,
		Args:    app.Args("NETWORK"),
		RunE:    app.Run(func(_ context.Context, args []string) error { return run(a, args[0], o) }),
	}
	cmd.Flags().StringVar(&o.Key, "key", "", "`file` with the key that signs passes")
	cmd.Flags().StringArrayVar(&o.To, "to", nil, "`address` that may be asked for, HOST:PORTS as in outrigger outpost connect; may be repeated")
	cmd.Flags().StringVar(&o.For, "for", "", "whom it is for, `text` for the hub's log (default: you)")
	cmd.Flags().DurationVar(&o.Expires, "expires", o.Expires, "`time` for which it is valid")
	return cmd
}

func run(a *app.App, network string, o Options) error {
	if err := creds.CheckLabel("network", network); err != nil {
		return fault.New(fault.Usage, "outpost pass: %w", err)
	}
	if _, err := allow.Parse(o.To); err != nil {
		return fault.New(fault.Usage, "outpost pass: --to: %w", err)
	}
	switch {
	case len(o.To) == 0:
		return fault.New(fault.Usage, "outpost pass: --to is missing: a pass names the addresses that it is for")
	case o.Key == "":
		return fault.New(fault.Usage, "outpost pass: --key is missing")
	case o.Expires <= 0:
		return fault.New(fault.Usage, "outpost pass: --expires %s: want more than nothing", o.Expires)
	}
	if o.For == "" {
		o.For = app.By()
	}
	key, err := os.ReadFile(o.Key)
	if err != nil {
		return fault.New(fault.LocalFile, "outpost pass: --key: %w", err).WithRemedy("Make one with: outrigger outpost init DIR --name NAME")
	}
	signer, err := creds.ParseSigner(key)
	if err != nil {
		return err
	}
	p := creds.Pass{Network: network, To: o.To, For: o.For, Expires: a.IO.Now().UTC().Add(o.Expires).Truncate(time.Second)}
	pass, err := signer.Sign(p)
	if err != nil {
		return err
	}
	if a.JSON() {
		return table.JSON(a.IO.Out, []Item{{p.Network, p.To, p.For, p.Expires, pass.Reveal()}})
	}
	_, err = fmt.Fprintln(a.IO.Out, pass.Reveal())
	return err
}
