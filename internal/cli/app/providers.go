package app

import (
	"errors"

	"github.com/spf13/cobra"

	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/machine"
)

// CompleteFlag lets the shell complete a flag of cmd.
func (a *App) CompleteFlag(cmd *cobra.Command, flag string, complete cobra.CompletionFunc) {
	if err := cmd.RegisterFlagCompletionFunc(flag, complete); err != nil {
		panic(err) // the flag's name above was mistyped
	}
}

// At names the provider in an error of its own, and keeps what the reader can do.
func At(provider string, err error) *fault.Error {
	return about("provider "+provider, err)
}

// AtMachine names the machine in an error of its provider or of its own.
func AtMachine(name machine.Name, err error) *fault.Error {
	return about("machine "+string(name), err)
}

func about(what string, err error) *fault.Error {
	f := fault.New(fault.Of(err), "%s: %w", what, err)
	var inner *fault.Error
	if errors.As(err, &inner) {
		f.Detail, f.Remedy, f.Exit = inner.Detail, inner.Remedy, inner.Exit
	}
	return f
}
