package step

import (
	"context"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
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
	// firstLook and lastLook bound the pause between two looks at the claim: a warm machine
	// is there at once, and a queue lasts.
	firstLook = 100 * time.Millisecond
	lastLook  = 2 * time.Second
	// outage is how long an API server that does not answer is asked again.
	outage = 2 * time.Minute
	// bootLimit is how long a machine that was well when it was bound may take to answer.
	bootLimit = 2 * time.Minute
	// leaseTime is how long the machine keeps the lease without hearing from us; the controller ends it.
	leaseTime = 24 * time.Hour
	// releaseLimit bounds the giving back, which goes on after a signal.
	releaseLimit = 5 * time.Second
)

// A claimer holds a claim of this Pod.
type claimer struct {
	app   *app.App
	kube  *kube.Client
	claim *v1alpha1.MachineClaim
	told  string
}

// fromPool makes a claim and waits for its machine. The claim is the Pod's: the
// controller releases it when the Pod ends or vanishes, whatever became of us.
func fromPool(ctx context.Context, a *app.App, o Options) (taken, error) {
	claim, err := order(a.IO.Getenv, o)
	if err != nil {
		return taken{}, err
	}
	client, err := (&kube.Flags{}).Open()
	if err != nil {
		return taken{}, err
	}
	c := &claimer{app: a, kube: client, claim: claim}
	login, err := c.take(ctx)
	if err != nil {
		if rerr := c.release(ctx); rerr != nil {
			err = join(err, rerr)
		}
		return taken{}, err
	}
	return taken{
		task:    podrelay.Task{Claim: login, Endpoint: login.Reach(), Boot: bootLimit, LeaseTTL: leaseTime},
		release: c.release,
	}, nil
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

// take makes the claim and waits for what reaches the machine.
func (c *claimer) take(ctx context.Context) (login handoff.Claim, err error) {
	err = c.persist(ctx, func() error {
		made, err := c.kube.CreateClaim(ctx, c.claim)
		if err == nil && made != nil {
			c.claim = made
		}
		return err
	})
	if err != nil {
		return login, err
	}
	for pause := firstLook; ; pause = min(2*pause, lastLook) {
		secret, err := c.look(ctx)
		if err != nil {
			return login, err
		}
		if secret != "" {
			return c.login(ctx, secret)
		}
		select {
		case <-ctx.Done():
			return login, ctx.Err()
		case <-time.After(pause):
		}
	}
}

// look asks for the claim, and returns its Secret's name when that is written.
func (c *claimer) look(ctx context.Context) (secret string, err error) {
	var now *v1alpha1.MachineClaim
	err = c.persist(ctx, func() error {
		now, err = c.kube.Claim(ctx, c.claim.Namespace, c.claim.Name)
		return err
	})
	if err != nil {
		return "", err
	}
	name := c.claim.Namespace + "/" + c.claim.Name
	if now == nil || now.UID != c.claim.UID {
		return "", fault.New(fault.Interrupted, "claim %s: was deleted before it had a machine", name)
	}
	bound := meta.FindStatusCondition(now.Status.Conditions, v1alpha1.ClaimConditionBound)
	switch {
	case now.Status.Phase == v1alpha1.ClaimFailed && bound != nil:
		return "", fault.New(fault.ProviderRefused, "claim %s: will never get a machine: %s: %s", name, bound.Reason, bound.Message)
	case now.Status.Phase == v1alpha1.ClaimReleased:
		return "", fault.New(fault.Interrupted, "claim %s: was released before the script began", name)
	case bound != nil && bound.Reason == "PoolNotFound":
		return "", fault.New(fault.UnknownPool, "claim %s: %s", name, bound.Message)
	case meta.IsStatusConditionTrue(now.Status.Conditions, v1alpha1.ClaimConditionReady):
		return now.Status.SecretName, nil
	case bound != nil && now.Status.Phase != v1alpha1.ClaimBound:
		c.tell(now, bound.Message)
	}
	return "", nil
}

// tell says why it waits, whenever that changes.
func (c *claimer) tell(now *v1alpha1.MachineClaim, why string) {
	text := fmt.Sprintf("waits for a machine of pool %s", now.Spec.Pool)
	if n := now.Status.Position; n > 0 {
		text += fmt.Sprintf(", number %d in the queue", n)
	}
	if why != "" {
		text += ": " + why
	}
	if text != c.told {
		c.told = text
		say(c.app, "%s", text)
	}
}

// login reads what reaches the machine.
func (c *claimer) login(ctx context.Context, secret string) (login handoff.Claim, err error) {
	var data map[string][]byte
	err = c.persist(ctx, func() error {
		data, err = c.kube.Secret(ctx, c.claim.Namespace, secret)
		return err
	})
	if err != nil {
		return login, err
	}
	return handoff.ParseClaim(data[handoff.SecretKey])
}

// release gives the machine back. If that fails the end of the Pod does it.
func (c *claimer) release(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), releaseLimit)
	defer cancel()
	// Without a UID the claim's creation was never answered; the name is ours alone.
	err := c.persist(ctx, func() error { return c.kube.DeleteClaim(ctx, c.claim.Namespace, c.claim.Name, c.claim.UID) })
	if err != nil {
		say(c.app, "claim %s is not released yet, which the controller does when this Pod has ended: %v", c.claim.Name, err)
	}
	return nil
}

// persist repeats op while the API server is what does not answer.
func (c *claimer) persist(ctx context.Context, op func() error) error {
	began := time.Now()
	for {
		err := op()
		if err == nil || ctx.Err() != nil || !fault.Is(err, fault.Unreachable) || time.Since(began) > outage {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(lastLook / 2):
		}
	}
}
