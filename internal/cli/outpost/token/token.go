// Package token is outrigger outpost token.
package token

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"outrigger.dev/outrigger/internal/cli/app"
	"outrigger.dev/outrigger/internal/cli/table"
	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/outpost/creds"
	"outrigger.dev/outrigger/internal/outpost/hub"
)

// Options are the command's flags.
type Options struct {
	Dir     string
	Expires time.Duration
	Retire  time.Duration
	retire  bool
}

// An Item is what was made, under --output json.
type Item struct {
	Outpost string    `json:"outpost"`
	Token   string    `json:"token"`
	Line    string    `json:"line"` // of the hub's file of tokens
	Expires time.Time `json:"expires,omitzero"`
}

// New returns the command.
func New(a *app.App) *cobra.Command {
	var o Options
	cmd := &cobra.Command{
		Use:   "token NETWORK/NAME --dir DIR",
		Short: "Make a token for an outpost",
		Long: `Make a token for the outpost NAME of NETWORK, print it, and add its digest to the
hub's file of tokens, DIR/hub/tokens. The token itself is stored nowhere.

An outpost may have several tokens, so that one can be replaced: with --retire
those that it has expire after that time. The hub ends the sessions of tokens
that have expired or are no longer in its file.`,
		Example: `  outrigger outpost token orka/east --dir keys > east.token
  outrigger outpost token orka/east --dir keys --retire 24h > east.token`,
		Args: app.Args("NETWORK/NAME"),
	}
	cmd.RunE = app.Run(func(_ context.Context, args []string) error {
		o.retire = cmd.Flags().Changed("retire")
		return run(a, args[0], o)
	})
	cmd.Flags().StringVar(&o.Dir, "dir", "", "`folder` that outrigger outpost init made")
	cmd.Flags().DurationVar(&o.Expires, "expires", 0, "`time` for which the token is valid (default: for ever)")
	cmd.Flags().DurationVar(&o.Retire, "retire", 0, "`time` after which the outpost's other tokens expire")
	return cmd
}

func run(a *app.App, name string, o Options) error {
	outpost, err := creds.ParseOutpost(name)
	switch {
	case err != nil:
		return fault.New(fault.Usage, "outpost token: %w", err)
	case o.Dir == "":
		return fault.New(fault.Usage, "outpost token: --dir is missing")
	case o.Expires < 0 || o.Retire < 0:
		return fault.New(fault.Usage, "outpost token: a time is less than nothing")
	}
	file := filepath.Join(o.Dir, "hub", hub.TokensFile)
	old, err := os.ReadFile(file)
	if err != nil {
		return fault.New(fault.LocalFile, "outpost token: %w", err).WithRemedy("Make the folder with: outrigger outpost init DIR --name NAME")
	}
	if _, err := creds.ParseGrants(old); err != nil {
		return err
	}
	now := a.IO.Now().UTC().Truncate(time.Second)
	if o.retire {
		old = retire(old, outpost, now.Add(o.Retire))
	}
	token := creds.NewToken()
	g := creds.Grant{Outpost: outpost, Digest: creds.DigestOf(token)}
	if o.Expires > 0 {
		g.Expires = now.Add(o.Expires)
	}
	if len(old) > 0 && !bytes.HasSuffix(old, []byte("\n")) {
		old = append(old, '\n')
	}
	if err := replace(file, append(old, g.Line()+"\n"...)); err != nil {
		return fault.New(fault.LocalFile, "outpost token: %w", err)
	}
	if a.JSON() {
		return table.JSON(a.IO.Out, []Item{{outpost.String(), token.Reveal(), g.Line(), g.Expires}})
	}
	_, err = fmt.Fprintln(a.IO.Out, token.Reveal())
	return err
}

// retire makes the lines of an outpost expire at the latest then. All other
// lines stay as they are.
func retire(file []byte, outpost creds.Outpost, at time.Time) []byte {
	var out bytes.Buffer
	for line := range strings.Lines(string(file)) {
		gs, err := creds.ParseGrants([]byte(line))
		if err == nil && len(gs) == 1 && gs[0].Outpost == outpost && (gs[0].Expires.IsZero() || gs[0].Expires.After(at)) {
			gs[0].Expires = at
			line = gs[0].Line() + "\n"
		}
		out.WriteString(line)
	}
	return out.Bytes()
}

// replace writes the file anew: a hub sees the old one or the new one.
func replace(file string, data []byte) error {
	f, err := os.CreateTemp(filepath.Dir(file), ".tokens-")
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), file)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}
