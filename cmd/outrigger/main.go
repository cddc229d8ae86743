// Command outrigger runs commands on machines elsewhere as if they were here.
package main

import (
	"os"

	"outrigger.dev/outrigger/internal/cli"
	"outrigger.dev/outrigger/internal/cli/term"
)

func main() { os.Exit(cli.Main(term.System())) }
