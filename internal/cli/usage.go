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
		cause := strings.TrimPrefix(errors.Unwrap(value).Error(), "time: ")
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
