//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"sort"
	"strings"
	"syscall"

	"outrigger.dev/outrigger/test/built"
)

// commands are what bed can be told. Those in helpers.go are told by bed itself.
var commands = map[string]func(context.Context, *bed) error{
	"up":      up,
	"hosts":   hosts,
	"install": install,
	"status":  status,
	"down":    down,
	"wipe":    wipe,
	"env":     printEnv,
	"capture": capture,
	"demo":    demo,
	"undemo":  demoDown,
}

func main() {
	if len(os.Args) > 1 && helper(os.Args[1], os.Args[2:]) {
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "bed:", err)
		stop()
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) == 0 {
		return errors.New("want " + words())
	}
	b, err := newBed(os.Stderr)
	if err != nil {
		return err
	}
	for _, name := range args { // checked before anything is done
		if commands[name] == nil {
			return fmt.Errorf("unknown command %q: want %s", name, words())
		}
	}
	if os.Geteuid() != 0 && !slices.Equal(args, []string{"env"}) {
		return errors.New("want root: the test bed makes containers and network namespaces")
	}
	if !slices.Equal(args, []string{"status"}) && !slices.Equal(args, []string{"env"}) { // these change nothing
		unlock, err := b.lock(ctx)
		if err != nil {
			return err
		}
		defer unlock()
	}
	for _, name := range args {
		if err := commands[name](ctx, b); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

func words() string {
	names := make([]string, 0, len(commands))
	for name := range commands {
		names = append(names, name)
	}
	sort.Strings(names)
	return strings.Join(names, ", ")
}

func printEnv(ctx context.Context, b *bed) error {
	kube, err := built.Kube(ctx, b.out)
	if err != nil {
		return err
	}
	fmt.Printf("export KUBECONFIG=%s\nexport OUTRIGGER_E2E_KUBECTL=%s/kubectl\nexport PATH=%[2]s:$PATH\n", b.kubeconfig("admin"), kube)
	return nil
}
