package cli_test

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/testscript"
	"github.com/spf13/cobra"

	"outrigger.dev/outrigger/internal/cli"
	"outrigger.dev/outrigger/internal/cli/app"
	"outrigger.dev/outrigger/internal/cli/term"
	"outrigger.dev/outrigger/internal/provider/local"
)

var update = flag.Bool("update", false, "rewrite golden files and scripts")

// TestMain lets this binary stand in for outrigger, also where outrigger
// starts itself to be a machine.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == local.ServeCommand {
		os.Exit(cli.Main(term.System()))
	}
	testscript.Main(m, map[string]func(){
		"outrigger": func() { os.Exit(cli.Main(term.System())) },
	})
}

// all visits cmd and everything below it that people see.
func all(cmd *cobra.Command, visit func(*cobra.Command)) {
	visit(cmd)
	for _, c := range cmd.Commands() {
		if c.IsAvailableCommand() && c.Name() != "completion" {
			all(c, visit)
		}
	}
}

func TestHelpIsAsWritten(t *testing.T) {
	var got bytes.Buffer
	root := cli.New(app.New(&term.IO{Out: &got, Err: &got, Now: time.Now}))
	all(root, func(cmd *cobra.Command) {
		got.WriteString("$ " + cmd.CommandPath() + " --help\n")
		if err := cmd.Help(); err != nil {
			t.Error(err)
		}
		got.WriteString("\n")
	})
	file := filepath.Join("testdata", "help.txt")
	if *update {
		if err := os.WriteFile(file, got.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got.String()); diff != "" {
		t.Errorf("%s (-want +got; -update rewrites it):\n%s", file, diff)
	}
}

// Each command has an example, and nothing is wider than a terminal is at least.
func TestHelpIsWhole(t *testing.T) {
	root := cli.New(app.New(&term.IO{Now: time.Now}))
	all(root, func(cmd *cobra.Command) {
		if cmd.Short == "" || cmd.Example == "" {
			t.Errorf("%s: wants a short text and an example", cmd.CommandPath())
		}
		for _, line := range strings.Split(cmd.Long+"\n"+cmd.Example, "\n") {
			if len(line) > 90 {
				t.Errorf("%s: a line of %d columns: %s", cmd.CommandPath(), len(line), line)
			}
		}
		for _, line := range strings.Split(cmd.Example, "\n") {
			if !strings.HasPrefix(line, "  ") || !strings.Contains(line, "outrigger") {
				t.Errorf("%s: an example that is none: %q", cmd.CommandPath(), line)
			}
		}
	})
}
