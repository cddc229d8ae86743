//go:build linux

// Command warmstart measures what a machine costs a TaskRun: the time from its
// creation to the first line of its step, on the node and on a machine of a pool,
// in turn, in the same cluster.
//
//	KUBECONFIG=… go run ./test/bench/warmstart [-n 20] [-pool hosts] [-cold vms]
//
// It runs on the node itself: the first line's time is read from the node's log
// files, whose clock is then that of the program. Where the time goes is seen by
// watching the Pods and claims.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"time"

	"outrigger.dev/outrigger/test/e2e/user"
)

var (
	count = flag.Int("n", 20, "TaskRuns of each kind")
	pool  = flag.String("pool", "hosts", "the pool with warm machines")
	cold  = flag.String("cold", "", "a pool without warm machines, measured as well")
	image = flag.String("image", "registry.local/tools:1", "the image of the step on the node")
)

// name is the namespace that the TaskRuns are made in.
const name = "bench-warmstart"

func main() {
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := measure(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func measure(ctx context.Context) error {
	c, err := user.Connect(os.Getenv("KUBECONFIG"), "kubectl")
	if err != nil {
		return fmt.Errorf("KUBECONFIG: %w", err)
	}
	n, err := c.Namespace(ctx, name, nil)
	if err != nil {
		return err
	}
	samples, err := series(ctx, n)
	if len(samples) > 0 {
		report(samples)
	}
	return errors.Join(err, n.Delete(context.WithoutCancel(ctx)))
}

// series runs TaskRuns of all kinds in turn, so that what else the computer does
// meets all of them.
func series(ctx context.Context, n *user.Namespace) (map[string][]sample, error) {
	kinds := []string{onNode, *pool}
	if *cold != "" {
		kinds = append(kinds, *cold)
	}
	all := map[string][]sample{}
	for i := range *count {
		for _, kind := range kinds {
			s, err := run(ctx, n, fmt.Sprintf("%s-%03d", kind, i), kind)
			if err != nil {
				return all, err
			}
			all[kind] = append(all[kind], s)
		}
	}
	return all, nil
}

func report(all map[string][]sample) {
	fmt.Printf("%d TaskRuns of each kind, in turn; medians, and of the whole also the extremes\n\n", *count)
	fmt.Println("| | on the node | on a warm machine | made for it |")
	fmt.Println("|-|-|-|-|")
	cell := func(kind string, of func(sample) time.Duration, extremes bool) string {
		var found []time.Duration
		for _, s := range all[kind] {
			if d := of(s); d > 0 {
				found = append(found, d)
			}
		}
		if len(found) == 0 {
			return "–"
		}
		slices.Sort(found)
		text := found[len(found)/2].Round(time.Millisecond).String()
		if extremes {
			text += fmt.Sprintf(" (%s–%s)", found[0].Round(time.Millisecond), found[len(found)-1].Round(time.Millisecond))
		}
		return text
	}
	row := func(what string, of func(sample) time.Duration, extremes bool) {
		fmt.Printf("| %s | %s | %s | %s |\n", what, cell(onNode, of, extremes), cell(*pool, of, extremes), cell(*cold, of, extremes))
	}
	row("**created until the first line**", func(s sample) time.Duration { return s.line }, true)
	for _, stage := range stages {
		row("… until "+stage, func(s sample) time.Duration { return s.at[stage] }, false)
	}
	row("first line until the TaskRun is done", func(s sample) time.Duration { return s.done - s.line }, false)
	node, machine := middle(all[onNode]), middle(all[*pool])
	if node > 0 && machine > 0 {
		fmt.Printf("\na warm machine costs %s more than the node (×%.2f)\n", (machine - node).Round(time.Millisecond), machine.Seconds()/node.Seconds())
	}
}

func middle(samples []sample) time.Duration {
	var lines []time.Duration
	for _, s := range samples {
		lines = append(lines, s.line)
	}
	if len(lines) == 0 {
		return 0
	}
	slices.Sort(lines)
	return lines[len(lines)/2]
}
