// Command controller keeps pools of machines and gives them to Pods.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"outrigger.dev/outrigger/internal/control/manager"
	"outrigger.dev/outrigger/internal/provider/local"
)

func main() {
	if len(os.Args) > 1 && os.Args[1] == local.ServeCommand {
		os.Exit(local.ServeMain(os.Args[2:])) // a machine of the local provider
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := manager.Main(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}
