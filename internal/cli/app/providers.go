package app

import (
	"errors"

	"github.com/spf13/cobra"

	"outrigger.dev/outrigger/internal/fault"
)

// CompleteFlag lets the shell complete a flag of cmd.
func (a *App) CompleteFlag(cmd *cobra.Command, flag string, complete cobra.CompletionFunc) {
	if err := cmd.RegisterFlagCompletionFunc(flag, complete); err != nil {
		panic(err) // the flag's name above was mistyped
	}
}

// At names the provider in an error of its own, and keeps what the reader can do.
func At(provider string, err error) error {
	f := fault.New(fault.Of(err), "provider %s: %w", provider, err)
	var inner *fault.Error
	if errors.As(err, &inner) {
		f.Detail, f.Remedy = inner.Detail, inner.Remedy
	}
	return f
}
