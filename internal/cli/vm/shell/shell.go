// Package shell is outrigger vm shell.
package shell

import (
	"context"
	"errors"
	"strings"

	"github.com/spf13/cobra"

	"outrigger.dev/outrigger/internal/cli/app"
	"outrigger.dev/outrigger/internal/cli/term"
	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/reach"
)

// Options are the command's arguments.
type Options struct {
	Name    string
	Command string // "": a login shell
}

// New returns the command.
func New(a *app.App) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "shell NAME [-- CMD ARG...]",
		Short: "Open a shell on a machine",
		Long: `Open a login shell on a machine, or run one command in it. As with ssh the words
of the command are joined by blanks and read by the machine's shell; nothing is
synced (outrigger run --on NAME does that).

The exit code is that of the shell or command.`,
		Example: `  outrigger vm shell box
  outrigger vm shell box -- uname -a
  outrigger vm shell box -- 'cd /tmp && ls' > list`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return app.Args("NAME")(cmd, args)
			}
			return nil
		},
		RunE: app.Run(func(ctx context.Context, args []string) error {
			command := args[1:]
			if len(command) > 0 && command[0] == "--" {
				command = command[1:] // pflag leaves it in place behind the first argument
			}
			return run(ctx, a, Options{Name: args[0], Command: strings.Join(command, " ")})
		}),
		ValidArgsFunction: a.CompleteMachines,
	}
	cmd.Flags().SetInterspersed(false) // flags behind NAME are the command's
	return cmd
}

func run(ctx context.Context, a *app.App, o Options) (err error) {
	c, h, err := a.Borrow(ctx, o.Name)
	if err != nil {
		return err
	}
	defer func() { err = app.First(err, c.Release(ctx)) }()
	defer h.Close()
	client, err := h.Client(ctx)
	if err != nil {
		return err
	}
	spec := reach.ShellSpec{Command: o.Command, Stdin: a.IO.In, Stdout: a.IO.Out, Stderr: a.IO.Err}
	exit, err := join(ctx, a.IO, client, spec)
	if err != nil {
		return err
	}
	if exit != 0 {
		return app.Exit(exit)
	}
	return nil
}

// join gives the session this terminal, if there is one.
func join(ctx context.Context, io *term.IO, client *reach.Client, spec reach.ShellSpec) (int, error) {
	size, ok := io.Size()
	if !ok || !io.InIsTerminal() || !io.OutIsTerminal() {
		return client.Shell(ctx, spec)
	}
	restore, err := io.Raw()
	if err != nil {
		return 0, fault.New(fault.LocalFile, "this terminal: %w", err)
	}
	spec.Term = io.Getenv("TERM")
	if spec.Term == "" {
		spec.Term = "xterm" // what a terminal that says nothing most probably understands
	}
	spec.Window = reach.Window{Width: size.Columns, Height: size.Rows}
	resized := make(chan reach.Window)
	spec.Resized = resized
	ctx, cancel := context.WithCancel(ctx)
	followed := make(chan struct{})
	go func() {
		defer close(followed)
		io.FollowSize(ctx, func(s term.Size) {
			select {
			case resized <- reach.Window{Width: s.Columns, Height: s.Rows}:
			case <-ctx.Done():
			}
		})
	}()
	exit, err := client.Shell(ctx, spec)
	cancel()
	<-followed
	return exit, errors.Join(err, restore())
}
