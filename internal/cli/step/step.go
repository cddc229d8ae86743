// Package step is "outrigger step": a step of a Tekton Task that takes a machine
// itself, where no webhook rewrites the step's Pod.
//
// It is the interpreter of the step's script: the first line says so, and what
// follows is executed on the machine with the Pod's workspaces and results at their
// own paths, by the relay of package podrelay. The machine is one of a pool, for
// which it makes a MachineClaim that the Pod holds, or one of a provider.
package step

import (
	"context"
	"errors"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"outrigger.dev/outrigger/internal/cli/app"
	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/handoff"
	"outrigger.dev/outrigger/internal/machine"
	"outrigger.dev/outrigger/internal/podrelay"
	"outrigger.dev/outrigger/internal/reach"
	"outrigger.dev/outrigger/internal/relay"
)

// Name is what the program is called as the interpreter of a step's script.
const Name = "step"

// Options are the flags and arguments of the command. An interpreter gets none, so each
// flag has a variable.
type Options struct {
	Pool        string
	Claim       string
	On          string
	Image       string
	Mounts      []string
	Exclude     []string
	Env         []string
	Network     string
	BootTimeout time.Duration
	Expires     time.Duration
	Script      string
	Args        []string
}

// New returns the command.
func New(a *app.App) *cobra.Command {
	var o Options
	cmd := &cobra.Command{
		Use:   "step [flags] SCRIPT [ARG...]",
		Short: "Run a Tekton step's script on a machine",
		Long: `Takes a machine of a pool or of a provider, runs SCRIPT there with this Pod's
workspaces and results at their own paths, gives the machine back, and exits with
the script's code. It is the interpreter of a step's script:

    script: |
      #!/outrigger/bin/step
      #!/usr/bin/env bash
      xcodebuild test

Without a second line that names an interpreter, /bin/sh -e it is. An interpreter
has no flags, so each is also a variable of the step: OUTRIGGER_POOL for --pool.
A variable that holds several things has one in each line.

With --pool it makes a MachineClaim in the namespace of this Pod, which $OUTRIGGER_POD,
$OUTRIGGER_POD_UID and $OUTRIGGER_NAMESPACE name. It is released when the script has
ended, and by the controller when the Pod has. With --claim it uses the machine of a
claim that "outrigger claim create" has made, and leaves it: what is not in a workspace
is on the machine for the next step too.`,
		Example: `  OUTRIGGER_POOL=xcode-16 outrigger step build.sh
  outrigger step --on mini --mount /workspace/source build.sh`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.Script, o.Args = args[0], args[1:]
			if err := variables(cmd, a.IO.Getenv); err != nil {
				return err
			}
			return run(cmd.Context(), a, o)
		},
	}
	f := cmd.Flags()
	f.SetInterspersed(false) // flags behind the script are the script's
	f.StringVar(&o.Pool, "pool", "", "`name` of the MachinePool to take the machine from")
	f.StringVar(&o.Claim, "claim", "", "`name` of a MachineClaim whose machine to use, in $OUTRIGGER_NAMESPACE")
	f.StringVar(&o.On, "on", "", "`name` of the configured provider to take the machine from")
	f.StringVar(&o.Image, "image", "", "machine `image` other than the pool's or the provider's usual one")
	f.StringArrayVar(&o.Mounts, "mount", []string{"/workspace", "/tekton/results"}, "absolute `path` of what the script sees, and may change (repeatable)")
	f.StringArrayVar(&o.Exclude, "exclude", nil, "gitignore-style `pattern` of what is not copied, from the root (repeatable)")
	f.StringArrayVarP(&o.Env, "env", "e", nil, "`NAME=value` for the script, beside this step's own variables (repeatable)")
	f.StringVar(&o.Network, "network", "", "\"cluster\": programs on the machine reach the cluster through this Pod")
	f.DurationVar(&o.BootTimeout, "boot-timeout", 10*time.Minute, "how long a provider's machine may take until it answers")
	f.DurationVar(&o.Expires, "expires", 2*time.Hour, "how long a provider's machine may live if this Pod is killed")
	return cmd
}

// variables sets the flags that are not given from the environment.
func variables(cmd *cobra.Command, getenv func(string) string) error {
	for _, flag := range []string{"pool", "claim", "on", "image", "mount", "exclude", "env", "network", "boot-timeout", "expires"} {
		name := "OUTRIGGER_" + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
		value := strings.TrimSpace(getenv(name))
		if value == "" || cmd.Flags().Changed(flag) {
			continue
		}
		for line := range strings.Lines(value) {
			if line = strings.TrimSpace(line); line == "" {
				continue
			}
			if err := cmd.Flags().Set(flag, line); err != nil {
				return fault.New(fault.Usage, "step: $%s %q: %w", name, line, err)
			}
		}
	}
	return nil
}

// A taken machine is one in our hands.
type taken struct {
	task    podrelay.Task // without plan and script
	release func(context.Context) error
}

// run takes a machine, runs the script on it and gives it back, on every path.
func run(ctx context.Context, a *app.App, o Options) (err error) {
	signals, stop := podrelay.Listen()
	defer stop()
	text, plan, err := prepare(o)
	if err != nil {
		return err
	}
	agents, err := a.Agents()
	if err != nil {
		return err
	}
	dir, err := os.Getwd()
	if err != nil {
		return fault.New(fault.LocalFile, "step: %w", err)
	}
	state, err := os.MkdirTemp("", "outrigger-step-")
	if err != nil {
		return fault.New(fault.LocalFile, "step: %w", err)
	}
	defer func() { err = join(err, os.RemoveAll(state)) }()

	taking, handOver := relay.UntilSignal(ctx, signals)
	take := fromPool
	switch {
	case o.On != "":
		take = fromProvider
	case o.Claim != "":
		take = fromClaim
	}
	t, err := take(taking, a, o)
	handOver()
	if err != nil {
		return app.Cause(taking, err)
	}
	defer func() { err = join(err, t.release(ctx)) }()
	if err := taking.Err(); err != nil {
		return app.Cause(taking, err)
	}
	if t.task.Script, err = content(text, t.task.Claim.Platform); err != nil {
		return err
	}
	t.task.Plan, t.task.State, t.task.Argv = plan, state, o.Args
	t.task.Agents, t.task.Reach = agents, reach.Options{Tunnels: a.Tunnels()}
	around := *a.IO
	around.Environ = append(slices.Clone(around.Environ), o.Env...)
	code, err := podrelay.Container{IO: &around, Dir: dir, Start: time.Now()}.Do(ctx, t.task, signals)
	switch {
	case o.Claim != "" && fault.Is(err, fault.Busy):
		return fault.New(fault.Busy, "%w", err).WithRemedy("Let the Tasks that share a claim run one after another: see runAfter in the Pipeline.")
	case err != nil:
		return err
	case code != 0:
		return app.Exit(code)
	}
	return nil
}

// prepare checks what can be checked before there is a machine.
func prepare(o Options) ([]byte, handoff.Plan, error) {
	given := slices.DeleteFunc([]string{o.Pool, o.Claim, o.On}, func(s string) bool { return s == "" })
	if len(given) != 1 {
		return nil, handoff.Plan{}, fault.New(fault.Usage, "step: pool %q, claim %q and provider %q: want one of them", o.Pool, o.Claim, o.On).
			WithRemedy("Give --pool NAME ($OUTRIGGER_POOL), --claim NAME ($OUTRIGGER_CLAIM), or --on PROVIDER ($OUTRIGGER_ON).")
	}
	f, err := os.Open(o.Script)
	if err != nil {
		return nil, handoff.Plan{}, fault.New(fault.LocalFile, "step: script: %w", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxScript+1))
	switch {
	case err != nil:
		return nil, handoff.Plan{}, fault.New(fault.LocalFile, "step: script: %w", err)
	case len(text) > maxScript:
		return nil, handoff.Plan{}, fault.New(fault.Usage, "step: script %s: larger than %d KiB", o.Script, maxScript>>10)
	}
	plan, err := planOf(o)
	return text, plan, err
}

// maxScript bounds a script, in bytes: it is sent in one message.
const maxScript = 512 << 10

// content is what the machine is to execute.
func content(text []byte, p machine.Platform) ([]byte, error) {
	s := string(text)
	if line, rest, _ := strings.Cut(s, "\n"); strings.HasPrefix(line, "#!") && strings.HasSuffix(strings.TrimSpace(line), "/"+Name) {
		s = rest
	}
	switch {
	case strings.HasPrefix(s, "#!"):
		return []byte(s), nil
	case p.OS == "windows":
		line, _, _ := strings.Cut(s, "\n")
		return nil, fault.New(fault.BadScript, "step: the script's first line is %.60q, want an interpreter line, since the machine is a Windows", strings.TrimRight(line, "\r")).
			WithRemedy("Start it with a line such as #!win powershell.exe -File")
	}
	return []byte("#!/bin/sh\nset -e\n" + s), nil // as Tekton does
}

// join tells of what failed in the end, beside how the script ended.
func join(err, last error) error {
	var exit app.Exit
	switch {
	case last == nil:
		return err
	case err == nil:
		return last
	case errors.As(err, &exit):
		return fault.New(fault.Of(last), "the script ended with exit code %d, but %w", int(exit), last)
	}
	f := fault.New(fault.Of(err), "%w; and %v", err, last)
	var inner *fault.Error
	if errors.As(err, &inner) {
		f.Detail, f.Remedy, f.Exit = inner.Detail, inner.Remedy, inner.Exit
	}
	return f
}

// say writes a line that is not the script's.
func say(a *app.App, format string, args ...any) {
	a.IO.Say(format, args...)
}
