package fetch

import (
	"strconv"

	"github.com/spf13/cobra"

	"outrigger.dev/outrigger/internal/cli/app"
	"outrigger.dev/outrigger/internal/cli/table"
)

func list(a *app.App) error {
	items, err := a.Fetchable()
	if err != nil {
		return err
	}
	if a.JSON() {
		return table.JSON(a.IO.Out, items)
	}
	now := a.IO.Now()
	t := table.Table{Columns: []string{"RUN", "MACHINE", "COMMAND", "FOLDER", "AGE", "EXIT", "UNTIL"}}
	for _, r := range items {
		exit := "?"
		if r.Exit != nil {
			exit = strconv.Itoa(*r.Exit)
		}
		t.Add(r.ID, string(r.Machine), r.Program, string(r.Dir), table.Age(r.Started, now), exit, table.Until(r.Until, now))
	}
	return t.Write(a.IO.Out)
}

// complete offers the runs to the shell.
func complete(a *app.App) cobra.CompletionFunc {
	return func(_ *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		items, err := a.Fetchable()
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		var names []cobra.Completion
		for _, r := range items {
			names = append(names, cobra.CompletionWithDesc(r.ID, r.Program+" in "+string(r.Dir)))
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	}
}
