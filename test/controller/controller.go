// Package controller runs the product's controller inside of a test's process: with the
// test's log, without ports of its own, until the test has ended.
package controller

import (
	"context"
	"log/slog"
	"testing"

	"k8s.io/client-go/rest"

	"outrigger.dev/outrigger/internal/control/manager"
)

// Log is the log of a test.
func Log(tb testing.TB, level slog.Level) *slog.Logger {
	return slog.New(slog.NewTextHandler(tb.Output(), &slog.HandlerOptions{Level: level}))
}

// Start starts a controller. It ends when stop is called, else after the test and before
// the cleanups that were set up earlier; that it ends with an error fails the test.
func Start(tb testing.TB, config *rest.Config, o manager.Options) (stop func()) {
	tb.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(tb.Context()))
	if o.Log == nil {
		o.Log = Log(tb, slog.LevelDebug)
	}
	o.MetricsAddress, o.ProbeAddress = "0", "0"
	mgr, err := manager.New(ctx, config, o)
	if err != nil {
		cancel()
		tb.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- mgr.Start(ctx) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-done; err != nil {
			tb.Errorf("controller: %v", err)
		}
	}
	tb.Cleanup(stop)
	return stop
}
