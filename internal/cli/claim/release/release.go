// Package release is outrigger claim release.
package release

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"outrigger.dev/outrigger/api/v1alpha1"
	"outrigger.dev/outrigger/internal/cli/app"
	"outrigger.dev/outrigger/internal/cli/kube"
	"outrigger.dev/outrigger/internal/fault"
)

type options struct {
	cluster   kube.Flags
	namespace string
}

// New returns the command.
func New(a *app.App) *cobra.Command {
	var o options
	cmd := &cobra.Command{
		Use:   "release [flags] NAME",
		Short: "Give a claim's machine back",
		Long: `Deletes a MachineClaim: its machine is given back, or its place in the queue. One
that is gone already is no error, so this may be done twice.`,
		Example: `  outrigger claim release claim-7k2qzx4m --namespace builds`,
		Args:    app.Args("NAME"),
		RunE:    app.Run(func(ctx context.Context, args []string) error { return run(ctx, a, o, args[0]) }),
	}
	f := cmd.Flags()
	f.StringVarP(&o.namespace, "namespace", "n", "", "`name` of the claim's namespace")
	o.cluster.Add(f)
	return cmd
}

func run(ctx context.Context, a *app.App, o options, name string) error {
	if name == "" || o.namespace == "" {
		return fault.New(fault.Usage, "claim release: name %q, namespace %q: want both", name, o.namespace)
	}
	client, err := o.cluster.Open()
	if err != nil {
		return err
	}
	c := kube.Claimer{Client: client, Claim: &v1alpha1.MachineClaim{ObjectMeta: metav1.ObjectMeta{Namespace: o.namespace, Name: name}}}
	if err := c.Release(ctx); err != nil {
		return err
	}
	_, err = fmt.Fprintf(a.IO.Out, "released %s/%s\n", o.namespace, name)
	return err
}
