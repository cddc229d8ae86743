// Gen writes the parts of the documentation that the program knows better:
//
//	docs/reference/cli.md         every command with its flags
//	docs/reference/exit-codes.md  the table of package fault
//
// CI fails when what is committed differs.
package main

//go:generate go run .

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"outrigger.dev/outrigger/internal/cli"
	"outrigger.dev/outrigger/internal/cli/app"
	"outrigger.dev/outrigger/internal/cli/term"
	"outrigger.dev/outrigger/internal/fault"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "gen:", err)
		os.Exit(1)
	}
}

func run() error {
	_, self, _, ok := runtime.Caller(0)
	if !ok {
		return fmt.Errorf("no path of this file: want to be built without -trimpath")
	}
	dir := filepath.Join(filepath.Dir(self), "../../docs/reference")
	for name, text := range map[string]string{"cli.md": commands(), "exit-codes.md": exitCodes()} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	return nil
}

const made = "<!-- Made by tools/gen: change the program, then `make generate`. -->\n\n"

// commands describes the CLI as --help does.
func commands() string {
	root := cli.New(app.New(&term.IO{In: strings.NewReader(""), Out: io.Discard, Err: io.Discard, Now: time.Now}))
	var b strings.Builder
	b.WriteString("# The command line\n\n" + made)
	b.WriteString("What `--help` says, in one place. Exit codes are [a page of their own](exit-codes.md).\n\n")
	b.WriteString(root.Long + "\n\n")
	b.WriteString("## Flags of every command\n\n" + flags(root.PersistentFlags()) + "\n")
	each(root, func(c *cobra.Command) {
		if !c.Runnable() || c == root || c.HasSubCommands() {
			return
		}
		fmt.Fprintf(&b, "## %s\n\n%s\n\n```\n%s\n```\n\n", c.CommandPath(), paragraphs(c), c.UseLine())
		if f := flags(c.NonInheritedFlags()); f != "" {
			b.WriteString(f + "\n")
		}
		if c.Example != "" {
			fmt.Fprintf(&b, "```sh\n%s\n```\n\n", outdent(c.Example))
		}
	})
	return strings.TrimRight(b.String(), "\n") + "\n"
}

func each(c *cobra.Command, f func(*cobra.Command)) {
	if c.Hidden || c.Name() == "help" || c.Name() == "completion" {
		return
	}
	f(c)
	for _, sub := range c.Commands() {
		each(sub, f)
	}
}

func paragraphs(c *cobra.Command) string {
	if c.Long != "" {
		return c.Long
	}
	return c.Short + "."
}

// flags makes a table; "" without any.
func flags(set *pflag.FlagSet) string {
	var b strings.Builder
	set.VisitAll(func(f *pflag.Flag) {
		if f.Hidden || f.Name == "help" {
			return
		}
		if b.Len() == 0 {
			b.WriteString("| flag | meaning |\n|-|-|\n")
		}
		value, usage := pflag.UnquoteUsage(f)
		name := "`--" + f.Name
		if f.Shorthand != "" {
			name = "`-" + f.Shorthand + "`, " + name
		}
		if value != "" && f.Value.Type() != "count" {
			name += " " + value
		}
		fmt.Fprintf(&b, "| %s` | %s |\n", name, strings.ReplaceAll(usage, "|", "\\|"))
	})
	return b.String()
}

func outdent(text string) string {
	lines := strings.Split(strings.Trim(text, "\n"), "\n")
	for i, l := range lines {
		lines[i] = strings.TrimPrefix(l, "  ")
	}
	return strings.Join(lines, "\n")
}

// exitCodes prints the table of faults.
func exitCodes() string {
	var b strings.Builder
	b.WriteString("# Exit codes\n\n" + made)
	fmt.Fprintf(&b, `The exit code of `+"`outrigger run`"+` is the command's own. Beyond that:

| code | meaning |
|-|-|
| %d | the time of `+"`--timeout`"+` was over |
| %d | Outrigger itself failed; standard error says why |
| %d | the command cannot be executed |
| %d | the command does not exist on the machine |
| %d+N | signal N ended the command, or Outrigger |
| 1 | also a code whose lowest 8 bits, which are passed on, are 0, such as 256 or 0xC0000100 on Windows; the event `+"`exit`"+` of `+"`--output json`"+` has it whole |

A command may use these codes too. Where the difference counts, `+"`--output json`"+` tells it: an error of ours is an event with its kind.

## Kinds of error

| kind | code | retry | what to do |
|-|-|-|-|
`, fault.ExitTimeout, fault.ExitOutrigger, fault.ExitNotExecutable, fault.ExitNotFound, fault.ExitSignal)
	for _, k := range fault.Kinds {
		retry := "no"
		if k.Retry {
			retry = "yes"
		}
		fmt.Fprintf(&b, "| [%s](../faults.md#%s) | %d | %s | %s |\n", k.Kind, strings.ToLower(string(k.Kind)), k.Exit, retry, k.Remedy)
	}
	return b.String()
}
