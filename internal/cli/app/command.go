package app

import (
	"context"
	"strings"

	"github.com/spf13/cobra"

	"outrigger.dev/outrigger/internal/fault"
)

// Run makes a cobra RunE of run, which a signal ends.
func Run(run func(ctx context.Context, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		ctx, stop := Interruptible(cmd.Context())
		defer stop()
		return Cause(ctx, run(ctx, args))
	}
}

// Where begins a message about how cmd was called: "vm create: ", "" for the root.
func Where(cmd *cobra.Command) string {
	_, below, ok := strings.Cut(cmd.CommandPath(), " ")
	if !ok {
		return ""
	}
	return below + ": "
}

// Args wants exactly these arguments, named as in the usage line.
func Args(names ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch {
		case len(args) < len(names):
			return fault.New(fault.Usage, "%s%s is missing", Where(cmd), names[len(args)])
		case len(args) > len(names) && len(names) == 0:
			return fault.New(fault.Usage, "%stakes no argument, found %q", Where(cmd), args[0])
		case len(args) > len(names):
			return fault.New(fault.Usage, "%sfound %q after %s, want nothing more", Where(cmd), args[len(names)], strings.Join(names, " "))
		}
		return nil
	}
}

// Group makes cmd, which only holds others, show its help when it is called
// alone and name what it does not know. Its commands are added before.
func Group(cmd *cobra.Command) *cobra.Command {
	cmd.Args = cobra.ArbitraryArgs
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return cmd.Help()
		}
		var names []string
		for _, c := range cmd.Commands() {
			if c.IsAvailableCommand() {
				names = append(names, c.Name())
			}
		}
		return fault.New(fault.Usage, "%sunknown command %q%s", Where(cmd), args[0], DidYouMean(args[0], names))
	}
	return cmd
}
