package app

import (
	"github.com/spf13/cobra"
)

// CompleteProviders offers the configured providers to the shell.
func (a *App) CompleteProviders(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
	cfg, err := a.Config()
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	return cfg.Names(), cobra.ShellCompDirectiveNoFileComp
}

// CompleteMachines offers the machines in the ledger to the shell; it asks no
// provider, so it is at once.
func (a *App) CompleteMachines(_ *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	l, err := a.Ledger()
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	recs, err := l.List()
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	var names []cobra.Completion
	for _, r := range recs {
		names = append(names, cobra.CompletionWithDesc(string(r.Name), "on "+r.Provider))
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}
