// Package connect is outrigger outpost connect.
package connect

import (
	"context"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"outrigger.dev/outrigger/internal/cli/app"
	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/machine"
	"outrigger.dev/outrigger/internal/outpost"
	"outrigger.dev/outrigger/internal/outpost/allow"
)

// TokenVariable holds the token where there is no file.
const TokenVariable = "OUTRIGGER_OUTPOST_TOKEN"

// Options are the command's flags.
type Options struct {
	TokenFile string
	CAFile    string
	Allow     []string
}

// New returns the command.
func New(a *app.App) *cobra.Command {
	var o Options
	cmd := &cobra.Command{
		Use:   "connect HUB --allow HOST:PORTS...",
		Short: "Be an outpost: connect inside of this network what a hub asks for",
		Long: `Be an outpost: dial out to the hub at HUB, https://HOST:PORT, and connect, in this
network, where the hub asks and --allow allows. It opens no port, needs no
privilege and keeps nothing. When the hub goes away it dials again.

--allow takes HOST:PORTS, where HOST is an address, a network such as
10.1.0.0/16, a name, *.NAME for all below it, or *; and PORTS is 22, 22,443,
8000-9000 or *. A proxy on the way out is taken from $HTTPS_PROXY.

It runs until it is stopped. The token is read at each dial, so a new one in the
file counts from then on.`,
		Example: `  outrigger outpost connect https://hub.example.com --token-file east.token --allow mac:22
  outrigger outpost connect https://hub --allow 10.1.0.0/16:22,8822-8922 --allow orka:80`,
		Args: app.Args("HUB"),
		RunE: app.Run(func(ctx context.Context, args []string) error { return run(ctx, a, args[0], o) }),
	}
	cmd.Flags().StringVar(&o.TokenFile, "token-file", "", "`file` with the outpost's token (default: $"+TokenVariable+")")
	cmd.Flags().StringVar(&o.CAFile, "ca-file", "", "PEM `file` of who vouches for the hub (default: the system's authorities)")
	cmd.Flags().StringArrayVar(&o.Allow, "allow", nil, "`address` that may be connected to, HOST:PORTS; may be repeated")
	return cmd
}

func run(ctx context.Context, a *app.App, hub string, o Options) error {
	list, err := allow.Parse(o.Allow)
	if err != nil {
		return fault.New(fault.Usage, "outpost connect: --allow: %w", err)
	}
	var ca []byte
	if o.CAFile != "" {
		if ca, err = os.ReadFile(o.CAFile); err != nil {
			return fault.New(fault.LocalFile, "outpost connect: --ca-file: %w", err).WithRemedy("Give the hub's tls.crt, or who signed it.")
		}
	}
	return outpost.Run(ctx, outpost.Config{
		Hub: hub, Token: func() (machine.Secret, error) { return token(a, o.TokenFile) }, Allow: list, CA: string(ca), Log: a.ServiceLog(),
	})
}

// token reads the token as it is now.
func token(a *app.App, file string) (machine.Secret, error) {
	text := a.IO.Getenv(TokenVariable)
	if file != "" {
		data, err := os.ReadFile(file)
		if err != nil {
			return machine.Secret{}, fault.New(fault.LocalFile, "outpost connect: --token-file: %w", err).
				WithRemedy("Make a token with: outrigger outpost token NETWORK/NAME")
		}
		text = string(data)
	}
	if text = strings.TrimSpace(text); text == "" {
		return machine.Secret{}, fault.New(fault.Usage, "outpost connect: no token: want --token-file or $%s", TokenVariable).
			WithRemedy("Make a token with: outrigger outpost token NETWORK/NAME")
	}
	return machine.NewSecret(text), nil
}
