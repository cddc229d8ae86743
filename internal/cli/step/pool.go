package step

import (
	"context"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"outrigger.dev/outrigger/api/v1alpha1"
	"outrigger.dev/outrigger/internal/cli/app"
	"outrigger.dev/outrigger/internal/cli/kube"
	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/handoff"
	"outrigger.dev/outrigger/internal/machine"
	"outrigger.dev/outrigger/internal/podrelay"
)

const (
	// bootLimit is how long a machine that was well when it was bound may take to answer.
	bootLimit = 2 * time.Minute
	// leaseTime is how long the machine keeps the lease without hearing from us; the controller ends it.
	leaseTime = 24 * time.Hour
)

// fromPool makes a claim and waits for its machine. The claim is the Pod's: the
// controller releases it when the Pod ends or vanishes, whatever became of us.
func fromPool(ctx context.Context, a *app.App, o Options) (taken, error) {
	claim, err := order(a.IO.Getenv, o)
	if err != nil {
		return taken{}, err
	}
	c, err := claimer(a, claim)
	if err != nil {
		return taken{}, err
	}
	release := func(ctx context.Context) error {
		if err := c.Release(ctx); err != nil {
			say(a, "claim %s is not released yet, which the controller does when this Pod has ended: %v", claim.Name, err)
		}
		return nil
	}
	err = c.Make(ctx)
	if err == nil {
		var t taken
		if t, err = handed(ctx, c); err == nil {
			t.release = release
			return t, nil
		}
	}
	return taken{}, join(err, release(ctx))
}

// fromClaim uses the machine of a claim that somebody else has made, and will release.
func fromClaim(ctx context.Context, a *app.App, o Options) (taken, error) {
	namespace := a.IO.Getenv("OUTRIGGER_NAMESPACE")
	if namespace == "" {
		return taken{}, fault.New(fault.Usage, "step: claim %s: $OUTRIGGER_NAMESPACE is empty: want this Pod's namespace", o.Claim).
			WithRemedy("Set it in the step by fieldRef: metadata.namespace.")
	}
	c, err := claimer(a, &v1alpha1.MachineClaim{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: o.Claim}})
	if err != nil {
		return taken{}, err
	}
	if err := c.Find(ctx); err != nil {
		return taken{}, err
	}
	t, err := handed(ctx, c)
	t.release = func(context.Context) error { return nil }
	return t, err
}

func claimer(a *app.App, claim *v1alpha1.MachineClaim) (*kube.Claimer, error) {
	client, err := (&kube.Flags{}).Open()
	if err != nil {
		return nil, err
	}
	return &kube.Claimer{Client: client, Claim: claim, Say: func(text string) { say(a, "%s", text) }}, nil
}

// handed waits for the claim's machine.
func handed(ctx context.Context, c *kube.Claimer) (taken, error) {
	secret, err := c.Wait(ctx)
	if err != nil {
		return taken{}, err
	}
	var login handoff.Claim
	if login, err = c.Login(ctx, secret); err != nil {
		return taken{}, err
	}
	return taken{task: podrelay.Task{Claim: login, Endpoint: login.Reach(), Boot: bootLimit, LeaseTTL: leaseTime}}, nil
}

// order is the claim of this Pod.
func order(getenv func(string) string, o Options) (*v1alpha1.MachineClaim, error) {
	pod, uid, namespace := getenv("OUTRIGGER_POD"), getenv("OUTRIGGER_POD_UID"), getenv("OUTRIGGER_NAMESPACE")
	if pod == "" || uid == "" || namespace == "" {
		return nil, fault.New(fault.Usage, "step: pool %s: $OUTRIGGER_POD is %q, $OUTRIGGER_POD_UID %q, $OUTRIGGER_NAMESPACE %q: want this Pod's name, UID and namespace", o.Pool, pod, uid, namespace).
			WithRemedy("Set them in the step by fieldRef: metadata.name, metadata.uid and metadata.namespace.")
	}
	return &v1alpha1.MachineClaim{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: namespace, Name: string(machine.NewName(Name)), Labels: map[string]string{v1alpha1.LabelPool: o.Pool},
			OwnerReferences: []metav1.OwnerReference{{APIVersion: "v1", Kind: "Pod", Name: pod, UID: types.UID(uid)}},
		},
		Spec: v1alpha1.MachineClaimSpec{
			Pool: o.Pool, Image: o.Image, Holder: &v1alpha1.Holder{Kind: "Pod", Name: pod, UID: uid},
		},
	}, nil
}
