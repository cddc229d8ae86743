package cli

import (
	"errors"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"outrigger.dev/outrigger/internal/cli/app"
	"outrigger.dev/outrigger/internal/fault"
)

// flagError puts what pflag found wrong into our words, with a suggestion.
func flagError(cmd *cobra.Command, err error) error {
	var unknown *pflag.NotExistError
	var value *pflag.InvalidValueError
	var missing *pflag.ValueRequiredError
	switch {
	case errors.Is(err, pflag.ErrHelp):
		return err
	case errors.As(err, &unknown) && unknown.GetSpecifiedShortnames() != "":
		return fault.New(fault.Usage, "%sunknown flag -%s", app.Where(cmd), unknown.GetSpecifiedName())
	case errors.As(err, &unknown):
		name := unknown.GetSpecifiedName()
		return fault.New(fault.Usage, "%sunknown flag --%s%s", app.Where(cmd), name, similarFlag(cmd, name))
	case errors.As(err, &value):
		cause := errors.Unwrap(value).Error()
		if value.GetFlag().Value.Type() == "duration" {
			cause = "want a duration such as 90s or 8h"
		}
		return fault.New(fault.Usage, "%s--%s %q: %s", app.Where(cmd), value.GetFlag().Name, value.GetValue(), cause)
	case errors.As(err, &missing):
		return fault.New(fault.Usage, "%s--%s wants a value", app.Where(cmd), missing.GetSpecifiedName())
	}
	return fault.New(fault.Usage, "%s%w", app.Where(cmd), err)
}

func similarFlag(cmd *cobra.Command, name string) string {
	var names []string
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if !f.Hidden {
			names = append(names, "--"+f.Name)
		}
	})
	hint := app.DidYouMean("--"+name, names)
	if strings.HasPrefix(hint, ", there are") {
		return "" // --help shows them better
	}
	return hint
}

// usageTemplate is cobra's, less the line "outrigger vm [flags]" for a command
// that only holds others.
func usageTemplate(cmd *cobra.Command) string {
	return strings.Replace(cmd.UsageTemplate(), "{{if .Runnable}}", "{{if and .Runnable (not .HasAvailableSubCommands)}}", 1)
}

// helpCommand is cobra's, but for a topic that it does not know.
func helpCommand(root *cobra.Command) *cobra.Command {
	return &cobra.Command{
		Use:   "help [COMMAND]",
		Short: "Help about any command",
		RunE: func(_ *cobra.Command, args []string) error {
			cmd, rest, err := root.Find(args)
			if err != nil || len(rest) > 0 {
				return fault.New(fault.Usage, "help: no command is called %q", strings.Join(args, " "))
			}
			return cmd.Help()
		},
	}
}

// completion is cobra's command for it, which should not take a shell that it
// does not know for a wish for help.
func completion(root *cobra.Command) {
	root.InitDefaultCompletionCmd()
	for _, cmd := range root.Commands() {
		if cmd.Name() == "completion" {
			cmd.Example = "  source <(outrigger completion bash)"
			app.Group(cmd)
		}
	}
}
