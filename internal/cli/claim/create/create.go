// Package create is outrigger claim create.
package create

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"outrigger.dev/outrigger/api/v1alpha1"
	"outrigger.dev/outrigger/internal/cli/app"
	"outrigger.dev/outrigger/internal/cli/kube"
	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/machine"
)

type options struct {
	cluster   kube.Flags
	pool      string
	image     string
	namespace string
	holder    string
	keep      time.Duration
	write     string
}

// New returns the command.
func New(a *app.App) *cobra.Command {
	var o options
	cmd := &cobra.Command{
		Use:   "create [flags]",
		Short: "Take a machine of a pool for a PipelineRun",
		Long: `Makes a MachineClaim of a name that nobody else has, waits until it has its machine,
and prints its name; meanwhile it says why it waits. Steps use the machine with
"outrigger step --claim NAME". It is given back by "outrigger claim release", and by
the controller when the holder has ended or is gone, however that came about. If
this command fails or is interrupted there is no claim.`,
		Example: `  outrigger claim create --pool xcode-16 --namespace builds --holder PipelineRun/ci-7/UID`,
		Args:    app.Args(),
		RunE:    app.Run(func(ctx context.Context, _ []string) error { return run(ctx, a, o) }),
	}
	f := cmd.Flags()
	f.StringVar(&o.pool, "pool", "", "`name` of the MachinePool to take the machine from")
	f.StringVar(&o.image, "image", "", "machine `image` other than the pool's: a machine is made for this claim alone")
	f.StringVarP(&o.namespace, "namespace", "n", "", "`name` of the namespace to make the claim in, that of its holder")
	f.StringVar(&o.holder, "holder", "", "`KIND/NAME/UID` of the PipelineRun or Pod at whose end the machine is given back")
	f.DurationVar(&o.keep, "keep", 0, "how long the machine stays for a look after the holder has failed")
	f.StringVar(&o.write, "write", "", "`file` to write the claim's name to, as a Tekton result")
	o.cluster.Add(f)
	return cmd
}

// versions are the API versions of the kinds that can hold a claim.
var versions = map[string]string{"Pod": "v1", "PipelineRun": "tekton.dev/v1"}

// order is the claim that is asked for.
func (o options) order() (*v1alpha1.MachineClaim, error) {
	if o.pool == "" || o.namespace == "" {
		return nil, fault.New(fault.Usage, "claim create: pool %q, namespace %q: want both", o.pool, o.namespace)
	}
	if o.keep < 0 {
		return nil, fault.New(fault.Usage, "claim create: --keep %s: want 0 or more", o.keep)
	}
	kind, rest, _ := strings.Cut(o.holder, "/")
	name, uid, _ := strings.Cut(rest, "/")
	version := versions[kind]
	if version == "" || name == "" || uid == "" {
		return nil, fault.New(fault.Usage, "claim create: --holder %q: want PipelineRun/NAME/UID or Pod/NAME/UID", o.holder).
			WithRemedy("Run the Task in a PipelineRun: the machine is given back at its end. A TaskRun alone needs no claim that outlives it.")
	}
	claim := &v1alpha1.MachineClaim{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: o.namespace, Name: string(machine.NewName("claim")), Labels: map[string]string{v1alpha1.LabelPool: o.pool},
			OwnerReferences: []metav1.OwnerReference{{APIVersion: version, Kind: kind, Name: name, UID: types.UID(uid)}},
		},
		Spec: v1alpha1.MachineClaimSpec{Pool: o.pool, Image: o.image, Holder: &v1alpha1.Holder{Kind: kind, Name: name, UID: uid}},
	}
	if o.keep > 0 {
		claim.Spec.Keep = &metav1.Duration{Duration: o.keep}
	}
	return claim, nil
}

func run(ctx context.Context, a *app.App, o options) error {
	claim, err := o.order()
	if err != nil {
		return err
	}
	client, err := o.cluster.Open()
	if err != nil {
		return err
	}
	c := &kube.Claimer{Client: client, Claim: claim, Say: func(text string) { a.IO.Say("%s", text) }}
	err = c.Make(ctx)
	if err == nil {
		err = o.await(ctx, a, c)
	}
	if err == nil {
		return nil
	}
	if rerr := c.Release(ctx); rerr != nil {
		a.IO.Say("claim %s is not released yet, which the controller does at the end of its holder: %v", claim.Name, rerr)
	}
	return err
}

// await waits for the machine and tells the claim's name.
func (o options) await(ctx context.Context, a *app.App, c *kube.Claimer) error {
	if _, err := c.Wait(ctx); err != nil {
		return err
	}
	if o.write != "" {
		if err := os.WriteFile(o.write, []byte(c.Claim.Name), 0o644); err != nil {
			return fault.New(fault.LocalFile, "claim create: --write: %w", err)
		}
	}
	a.IO.Say("has machine %s of pool %s", c.Claim.Status.Machine, c.Claim.Spec.Pool)
	_, err := fmt.Fprintln(a.IO.Out, c.Claim.Name)
	return err
}
