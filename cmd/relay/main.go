// Command relay runs a container's command on a machine; see package podrelay.
package main

import (
	"context"
	"os"
	"time"

	"outrigger.dev/outrigger/internal/cli/term"
	"outrigger.dev/outrigger/internal/podrelay"
)

func main() {
	start := time.Now()
	dir, err := os.Getwd()
	if err != nil {
		dir = "/" // a working folder that is gone is none
	}
	os.Exit(podrelay.Main(context.Background(), os.Args, podrelay.Container{IO: term.System(), Dir: dir, Start: start}))
}
