// Package cli is the command line: its root, and below it one package per verb.
package cli

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"outrigger.dev/outrigger/internal/cli/app"
	"outrigger.dev/outrigger/internal/cli/claim"
	"outrigger.dev/outrigger/internal/cli/config"
	"outrigger.dev/outrigger/internal/cli/dev"
	"outrigger.dev/outrigger/internal/cli/doctor"
	"outrigger.dev/outrigger/internal/cli/fetch"
	"outrigger.dev/outrigger/internal/cli/gc"
	"outrigger.dev/outrigger/internal/cli/image"
	"outrigger.dev/outrigger/internal/cli/outpost"
	"outrigger.dev/outrigger/internal/cli/pool"
	"outrigger.dev/outrigger/internal/cli/run"
	"outrigger.dev/outrigger/internal/cli/step"
	"outrigger.dev/outrigger/internal/cli/term"
	"outrigger.dev/outrigger/internal/cli/version"
	"outrigger.dev/outrigger/internal/cli/vm"
	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/provider/local"
)

// Main runs the program and returns its exit code.
func Main(io *term.IO) int {
	if len(io.Args) > 0 && io.Args[0] == local.ServeCommand {
		return local.ServeMain(io.Args[1:])
	}
	// Without this a closed pipe kills the program before it gave its machine
	// back; with it a write fails. Children start with the usual handling.
	pipe := make(chan os.Signal, 1)
	signal.Notify(pipe, syscall.SIGPIPE)
	defer signal.Stop(pipe)

	a := app.New(io)
	defer a.Close()
	root := New(a)
	root.SetArgs(io.Args)
	if io.Program == step.Name { // the interpreter of a script
		root.SetArgs(append([]string{step.Name}, io.Args...))
	}
	return exitCode(io, root.ExecuteContext(context.Background()))
}

// exitCode tells the user what went wrong, unless there is nobody to tell.
func exitCode(io *term.IO, err error) int {
	var exit app.Exit
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exit):
		return fault.Byte(int(exit))
	case errors.Is(err, syscall.EPIPE) && fault.Of(err) == fault.Internal:
		return fault.ExitSignal + int(syscall.SIGPIPE) // as a shell reports "outrigger vm list | head -1"
	}
	io.PrintError(err)
	return fault.ExitCode(err)
}

// New returns the root command with all others below it.
func New(a *app.App) *cobra.Command {
	root := &cobra.Command{
		Use:   "outrigger",
		Short: "Run commands on machines elsewhere as if they were here",
		Long: `Outrigger takes a machine, makes this folder exist on it, runs a command there
with live output, brings back what changed and gives the machine back.

It never asks a question. Its exit code is the command's own; 125 when Outrigger
itself failed, 126 and 127 as shells use them, 128+N for signal N.`,
		Example: `  outrigger run -- make test
  outrigger vm create --on qemu --name box
  outrigger vm shell box
  outrigger gc`,
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.SetIn(a.IO.In)
	root.SetOut(a.IO.Out)
	root.SetErr(a.IO.Err)
	a.Flags.Add(root.PersistentFlags())
	root.SetFlagErrorFunc(flagError)
	root.AddCommand(
		run.New(a),
		fetch.New(a),
		step.New(a),
		claim.New(a),
		vm.New(a),
		image.New(a),
		pool.New(a),
		outpost.New(a),
		gc.New(a),
		doctor.New(a),
		dev.New(a),
		config.New(a),
		version.New(a),
	)
	root.SetUsageTemplate(usageTemplate(root))
	root.SetHelpCommand(helpCommand(root))
	completion(root)
	return app.Group(root)
}
