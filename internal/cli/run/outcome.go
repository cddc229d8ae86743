package run

import (
	"errors"
	"fmt"

	"outrigger.dev/outrigger/internal/cli/app"
	"outrigger.dev/outrigger/internal/cli/progress"
	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/relay"
	"outrigger.dev/outrigger/internal/runclient"
)

// exitOf turns what the command did into our own end.
func exitOf(show progress.Reporter, exit runclient.Exit) error {
	code := ExitCode(exit)
	show.Event(progress.Event{Event: "exit", Exit: &code, Signal: exit.Signal, Seconds: exit.Took.Seconds()})
	if code == 0 {
		return nil
	}
	return app.Exit(code)
}

// ExitCode is the code with which our program ends for a command that ended so.
func ExitCode(exit runclient.Exit) int {
	if exit.Signal != "" {
		return fault.ExitSignal + exit.SigNum
	}
	return exit.Code
}

// describe adds how the command ended to what went wrong after it.
func describe(err error, result relay.Result) error {
	if !result.Ran || fault.Is(err, fault.TimedOut) {
		return err
	}
	how := fmt.Sprintf("exit code %d", result.Exit.Code)
	if result.Exit.Signal != "" {
		how = "signal " + result.Exit.Signal
	}
	f := fault.New(fault.Of(err), "the command ended with %s, but its files did not all come back: %w", how, err)
	var inner *fault.Error
	if errors.As(err, &inner) {
		f.Detail, f.Remedy, f.Exit = inner.Detail, inner.Remedy, inner.Exit
	}
	return f
}

// joinFault tells that the machine could not be given back, beside how the run
// itself ended.
func joinFault(err, release error) error {
	var exit app.Exit
	switch {
	case err == nil:
		return release
	case errors.As(err, &exit):
		return fault.New(fault.Of(release), "the command ended with exit code %d, but %w", int(exit), release).WithRemedy("%s", fault.Remedy(release))
	}
	f := fault.New(fault.Of(err), "%w; and %v", err, release)
	var inner *fault.Error
	if errors.As(err, &inner) {
		f.Detail, f.Remedy, f.Exit = inner.Detail, inner.Remedy, inner.Exit
	}
	if left := new(fault.Error); errors.As(release, &left) && left.Remedy != "" {
		f.Remedy = fault.Remedy(err) + " " + left.Remedy // a machine that is left is not forgotten over the first fault
	}
	return f
}
