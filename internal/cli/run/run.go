// Package run is "outrigger run": a command here, executed over there.
package run

import (
	"context"
	"errors"
	"time"

	"github.com/spf13/cobra"

	"outrigger.dev/outrigger/internal/cli/app"
	"outrigger.dev/outrigger/internal/cli/progress"
)

// Options are the flags and arguments of the command.
type Options struct {
	On             string
	Image          string
	Sync           string
	NoSync         bool
	Exclude        []string
	TakeGit        bool
	Env            []string
	Workdir        string
	At             string
	Script         string
	Keep           bool
	AllowDeletions bool
	Conflict       string
	Timeout        time.Duration
	Absence        time.Duration
	BootTimeout    time.Duration
	Argv           []string

	changed func(flag string) bool // whether the user gave it
}

// New returns the command.
func New(a *app.App) *cobra.Command {
	o := &Options{}
	cmd := &cobra.Command{
		Use:   "run [flags] [--] COMMAND [ARG...]",
		Short: "Run a command on a machine, with this folder there and back",
		Long: `Takes a machine, makes this folder exist on it, runs the command there with
live output, brings back what changed, gives the machine back, and exits with
the command's code. It never asks a question.

The machine is one of a provider (--on PROVIDER, made for this run and deleted
after it) or one that "outrigger vm create" made (--on NAME, which stays).
Standard input is passed on; where it and standard output are a terminal the
command gets one too. The first SIGINT, SIGTERM or SIGHUP goes to the command's whole
process tree; the second gives up waiting. Other signals go to the command alone.

When not all that the command wrote came back, or how it ended is not known, the
machine stays for a while and the error says what gets the rest: outrigger fetch.

Exit codes: the command's own; 128+N when signal N ended it; 124 when --timeout
did; 125 when Outrigger itself failed; 126 when the command cannot be executed;
127 when it does not exist on the machine.`,
		Example: `  outrigger run -- make test
  outrigger run --on qemu -- sh -c 'uname -a; make -j2'
  outrigger run --script build.sh --env VERSION=1.2 --exclude node_modules/
  echo 'swift build' | outrigger run --on mini --script - --at /workspace`,
		RunE: func(cmd *cobra.Command, args []string) error {
			o.Argv = args
			o.changed = cmd.Flags().Changed
			return run(cmd.Context(), a, *o)
		},
	}
	f := cmd.Flags()
	f.SetInterspersed(false) // flags behind the command are the command's
	f.StringVar(&o.On, "on", "", "`name` of a provider or of a machine (default: the configuration's)")
	f.StringVar(&o.Image, "image", "", "`image` to make the machine from")
	f.StringVar(&o.Sync, "sync", ".", "`folder` to make exist on the machine")
	f.BoolVar(&o.NoSync, "no-sync", false, "copy no folder, there or back")
	f.StringArrayVar(&o.Exclude, "exclude", nil, "gitignore-style `pattern` of what is not copied (repeatable)")
	f.BoolVar(&o.TakeGit, "take-git-config", false, "take back Git's configuration and hooks too, which Git here then executes")
	f.StringArrayVarP(&o.Env, "env", "e", nil, "`NAME=value` for the command, or NAME to pass on this one's (repeatable)")
	f.StringVar(&o.Workdir, "workdir", "", "`folder` to start in, relative to the copied one (default: that itself)")
	f.StringVar(&o.At, "at", "", "absolute `path` on the machine under which the folder appears")
	f.StringVar(&o.Script, "script", "", "run this `file` instead of a command; - reads standard input")
	f.BoolVar(&o.AllowDeletions, "allow-deletions", false, "take what is missing for deleted, even if it is most of the folder")
	f.StringVar(&o.Conflict, "conflict", "", "which `side` is right about a file that both changed: here, there, keep-both, or fail (the default)")
	f.BoolVar(&o.Keep, "keep", false, "keep the machine afterwards, for a look at it")
	f.DurationVar(&o.Timeout, "timeout", 0, "end the command after this `duration` (default: never)")
	f.DurationVar(&o.Absence, "absence", 0, "how long the command goes on while the connection is lost")
	f.DurationVar(&o.BootTimeout, "boot-timeout", 0, "how long the machine may take until it answers")
	_ = cmd.RegisterFlagCompletionFunc("on", a.CompleteProviders) // fails only for a flag that is not there
	return cmd
}

// run checks everything that can be checked first, so that a mistake costs no machine.
func run(ctx context.Context, a *app.App, o Options) error {
	show := a.Reporter()
	defer show.Close()
	p, err := prepare(a, o)
	if err == nil {
		err = execute(ctx, a, p, show)
	}
	var exit app.Exit
	if err != nil && !errors.As(err, &exit) && a.JSON() {
		show.Event(progress.Fault(err)) // for a script; people are told by the root
	}
	if err == nil {
		return progress.Lost(show)
	}
	return err
}
