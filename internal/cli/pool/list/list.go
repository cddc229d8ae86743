// Package list is outrigger pool list.
package list

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/api/meta"

	"outrigger.dev/outrigger/api/v1alpha1"
	"outrigger.dev/outrigger/internal/cli/app"
	"outrigger.dev/outrigger/internal/cli/kube"
	"outrigger.dev/outrigger/internal/cli/table"
)

// An Item is one pool under --output json.
type Item struct {
	Name     string    `json:"name"`
	OS       string    `json:"os"`
	Arch     string    `json:"arch"`
	Image    string    `json:"image,omitempty"`
	Warm     int32     `json:"warm"` // idle machines wanted
	Max      int32     `json:"max"`
	Idle     int32     `json:"idle"`
	Leased   int32     `json:"leased"`
	Starting int32     `json:"starting"`
	Failed   int32     `json:"failed"`
	Queued   int32     `json:"queued"` // claims that wait
	Ready    bool      `json:"ready"`
	Reason   string    `json:"reason,omitempty"`
	Message  string    `json:"message,omitempty"`
	Created  time.Time `json:"created"`
}

// New returns the command.
func New(a *app.App) *cobra.Command {
	var cluster kube.Flags
	cmd := &cobra.Command{
		Use:     "list",
		Aliases: []string{"ls"},
		Short:   "List the pools",
		Long: `List the pools of a cluster: how many machines stand idle, are in use and
starting, how many claims wait, and what is wrong where something is.`,
		Example: `  outrigger pool list
  outrigger pool list --context production --output json`,
		Args: app.Args(),
		RunE: app.Run(func(ctx context.Context, _ []string) error { return run(ctx, a, cluster) }),
	}
	cluster.Add(cmd.Flags())
	return cmd
}

func run(ctx context.Context, a *app.App, cluster kube.Flags) error {
	c, err := cluster.Open()
	if err != nil {
		return err
	}
	pools, err := c.Pools(ctx)
	if err != nil {
		return err
	}
	items := make([]Item, 0, len(pools))
	for _, p := range pools {
		items = append(items, item(p))
	}
	if a.JSON() {
		return table.JSON(a.IO.Out, items)
	}
	t := table.Table{Columns: []string{"NAME", "PLATFORM", "WARM", "MAX", "IDLE", "LEASED", "STARTING", "FAILED", "QUEUED", "READY", "AGE"}}
	for _, i := range items {
		ready := "yes"
		if !i.Ready {
			ready = "no: " + i.Reason
		}
		t.Add(i.Name, i.OS+"/"+i.Arch, count(i.Warm), count(i.Max), count(i.Idle), count(i.Leased), count(i.Starting), count(i.Failed), count(i.Queued),
			ready, table.Age(i.Created, a.IO.Now()))
	}
	return t.Write(a.IO.Out)
}

func item(p v1alpha1.MachinePool) Item {
	i := Item{
		Name: p.Name, OS: p.Spec.OS, Arch: p.Spec.Arch, Image: cmp.Or(p.Status.Image, p.Spec.Image), Max: p.Spec.Max,
		Idle: p.Status.Idle, Leased: p.Status.Leased, Starting: p.Status.Starting, Failed: p.Status.Failed, Queued: p.Status.Queued,
		Reason: "NotSeen", Message: "no controller has looked at it yet", Created: p.CreationTimestamp.UTC(),
	}
	if p.Spec.Warm != nil {
		i.Warm = *p.Spec.Warm
	}
	if c := meta.FindStatusCondition(p.Status.Conditions, v1alpha1.PoolReady); c != nil {
		i.Ready, i.Reason, i.Message = c.Status == "True", c.Reason, c.Message
	}
	return i
}

func count(n int32) string { return fmt.Sprint(n) }
