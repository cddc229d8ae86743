// Package status is outrigger pool status.
package status

import (
	"context"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"

	"outrigger.dev/outrigger/api/v1alpha1"
	"outrigger.dev/outrigger/internal/cli/app"
	"outrigger.dev/outrigger/internal/cli/kube"
	"outrigger.dev/outrigger/internal/cli/table"
)

// A Result is the output under --output json, made of the API's own objects.
type Result struct {
	Pool     *v1alpha1.MachinePool   `json:"pool"`
	Machines []v1alpha1.Machine      `json:"machines"`
	Queue    []v1alpha1.MachineClaim `json:"queue"`   // in the order in which they will be served
	Holding  []v1alpha1.MachineClaim `json:"holding"` // those that have a machine
	Events   []corev1.Event          `json:"events"`  // on the pool, the last one last
}

// New returns the command.
func New(a *app.App) *cobra.Command {
	var cluster kube.Flags
	cmd := &cobra.Command{
		Use:   "status NAME",
		Short: "Show what a pool does, and who waits for it",
		Long: `Show a pool: its counts and conditions, each machine with its phase and who has
it, the queue with each claim's position, how long it waits, how long it is
expected to wait and why, and the last events.`,
		Example: `  outrigger pool status xcode-16
  outrigger pool status xcode-16 --output json`,
		Args: app.Args("NAME"),
		RunE: app.Run(func(ctx context.Context, args []string) error { return run(ctx, a, cluster, args[0]) }),
	}
	cluster.Add(cmd.Flags())
	return cmd
}

func run(ctx context.Context, a *app.App, cluster kube.Flags, name string) error {
	c, err := cluster.Open()
	if err != nil {
		return err
	}
	var r Result
	if r.Pool, err = c.Pool(ctx, name); err != nil {
		return err
	}
	if r.Machines, err = c.Machines(ctx, name); err != nil {
		return err
	}
	claims, err := c.Claims(ctx, name)
	if err != nil {
		return err
	}
	r.Queue, r.Holding = split(claims)
	if r.Events, err = c.Events(ctx, "MachinePool", name); err != nil {
		return err
	}
	if a.JSON() {
		return table.Value(a.IO.Out, r)
	}
	return show(a.IO.Out, r, a.IO.Now())
}
