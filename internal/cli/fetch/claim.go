package fetch

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"outrigger.dev/outrigger/api/v1alpha1"
	"outrigger.dev/outrigger/internal/cli/app"
	"outrigger.dev/outrigger/internal/cli/kube"
	clirun "outrigger.dev/outrigger/internal/cli/run"
	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/handoff"
	"outrigger.dev/outrigger/internal/host"
	"outrigger.dev/outrigger/internal/podrelay"
	"outrigger.dev/outrigger/internal/reach"
	"outrigger.dev/outrigger/internal/relay"
)

const (
	// claimBoot is how long the machine of a claim may take to answer.
	claimBoot = time.Minute
	// claimLease is how long the lease outlives this: the controller ends it, as it does after the Pod's relays.
	claimLease = 24 * time.Hour
)

// fromClaim brings what a Pod left on the machine that its claim keeps.
func fromClaim(ctx context.Context, a *app.App, o Options) (err error) {
	if o.To == "" {
		o.To = o.Claim
	}
	for i, p := range o.Paths {
		o.Paths[i] = strings.TrimLeft(p, "/") // as the containers name them
	}
	if err := o.check(); err != nil {
		return err
	}
	client, err := o.Cluster.Open()
	if err != nil {
		return err
	}
	login, files, err := left(ctx, client, o.Namespace, o.Claim)
	if err != nil {
		return err
	}
	state, err := os.MkdirTemp("", "outrigger-fetch-")
	if err != nil {
		return fault.New(fault.LocalFile, "fetch: %w", err)
	}
	defer func() { err = app.First(err, os.RemoveAll(state)) }()
	agents, err := a.Agents()
	if err != nil {
		return err
	}
	h, err := host.Dial(ctx, host.Config{
		Endpoint: login.Reach(), Agents: agents, Reach: reach.Options{Log: a.Log(), Tunnels: a.Tunnels()}, Boot: claimBoot, Log: a.Log(),
	})
	if err != nil {
		return err
	}
	defer h.Close()
	show := a.Reporter()
	defer show.Close()
	job := relay.Job{
		Lease: relay.Lease{Name: login.Lease, Owner: login.Owner, Note: login.Name, TTL: claimLease},
		Over:  true, Warm: true, Absence: claimBoot, Log: a.Log(), Now: a.IO.Now,
	}
	for _, f := range files { // one after the other: they come into one folder
		f.Dir, f.Only, f.StateDir = o.To, o.Paths, filepath.Join(state, f.Folder)
		job.Files = []relay.Files{f}
		_, ferr := relay.Do(ctx, h, job, clirun.Watcher{Reporter: show, Dir: o.To, Connected: func(bool) {}})
		err = app.First(err, ferr)
	}
	if err != nil {
		return err
	}
	return o.found(a)
}

// found says what is to be done next, if all that was asked for is here.
func (o *Options) found(a *app.App) error {
	for _, p := range o.Paths {
		if _, err := os.Lstat(filepath.Join(o.To, filepath.FromSlash(p))); err != nil {
			return fault.New(fault.RemoteFile, "fetch: path %q: is not on the machine, or is in no volume of the Pod", "/"+p)
		}
	}
	a.IO.Say("the results are in %s; the machine is kept until its time is over or the Pod of claim %s is deleted", o.To, o.Claim)
	return nil
}

// left says how the claim's machine is reached, and what the Pod may have left there.
func left(ctx context.Context, client *kube.Client, namespace, name string) (login handoff.Claim, files []relay.Files, err error) {
	c := &kube.Claimer{Client: client, Claim: &v1alpha1.MachineClaim{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}}
	if err := c.Find(ctx); err != nil {
		return login, nil, err
	}
	claim, full := c.Claim, namespace+"/"+name
	if claim.Status.Phase != v1alpha1.ClaimBound || claim.Status.SecretName == "" {
		return login, nil, fault.New(fault.UnknownMachine, "fetch: claim %s: has no machine: it is %s", full, claim.Status.Phase).
			WithRemedy("What was left on a machine that was given back is gone.")
	}
	if claim.Spec.Holder == nil || claim.Spec.Holder.Kind != "Pod" {
		return login, nil, fault.New(fault.Usage, "fetch: claim %s: is not of a Pod whose results could be fetched", full)
	}
	pod, err := client.Pod(ctx, namespace, claim.Spec.Holder.Name)
	switch {
	case err != nil:
		return login, nil, err
	case pod == nil || string(pod.UID) != claim.Spec.Holder.UID:
		return login, nil, fault.New(fault.Config, "fetch: Pod %s/%s of claim %s: is gone, and with it what its volumes were", namespace, claim.Spec.Holder.Name, full)
	}
	plans, err := plansOf(pod)
	if err != nil {
		return login, nil, err
	}
	if files = podrelay.Results(plans); len(files) == 0 {
		return login, nil, fault.New(fault.Usage, "fetch: Pod %s/%s: has no volume that comes back from its machine", namespace, pod.Name)
	}
	login, err = c.Login(ctx, claim.Status.SecretName)
	return login, files, err
}

// plansOf are the plans of the Pod's containers that ran on the machine.
func plansOf(pod *corev1.Pod) ([]handoff.Plan, error) {
	var plans []handoff.Plan
	for _, list := range [][]corev1.Container{pod.Spec.InitContainers, pod.Spec.Containers} {
		for _, c := range list {
			for _, e := range c.Env {
				if e.Name != handoff.PlanVariable {
					continue
				}
				p, err := handoff.ParsePlan([]byte(e.Value))
				if err != nil {
					return nil, fmt.Errorf("container %s: %w", c.Name, err)
				}
				plans = append(plans, p)
			}
		}
	}
	return plans, nil
}
