// Command agent is Outrigger's program on a machine; see package agent.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"outrigger.dev/outrigger/internal/agent"
)

func main() {
	// Caught signals are back to normal in what we start; ignored ones would stay ignored.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT)
	code := agent.Main(ctx, os.Args[1:], agent.Stdio{In: os.Stdin, Out: os.Stdout, Err: os.Stderr})
	stop()
	os.Exit(code)
}
