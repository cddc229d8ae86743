package kube

import (
	"context"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"

	"outrigger.dev/outrigger/api/v1alpha1"
	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/handoff"
)

const (
	// firstLook and lastLook bound the pause between two looks at the claim: a warm machine
	// is there at once, and a queue lasts.
	firstLook = 100 * time.Millisecond
	lastLook  = 2 * time.Second
	// outage is how long an API server that does not answer is asked again.
	outage = 2 * time.Minute
	// releaseLimit bounds the giving back, which goes on after a signal.
	releaseLimit = 5 * time.Second
)

// A Claimer holds a claim, or waits for its machine.
type Claimer struct {
	Client *Client
	Claim  *v1alpha1.MachineClaim // namespace and name are known; what was made replaces it
	Say    func(text string)      // told why it waits, whenever that changes

	told string
}

// Make makes the claim.
func (c *Claimer) Make(ctx context.Context) error {
	return c.persist(ctx, func() error {
		made, err := c.Client.CreateClaim(ctx, c.Claim)
		if err == nil && made != nil {
			c.Claim = made
		}
		return err
	})
}

// Find looks for a claim that somebody else has made.
func (c *Claimer) Find(ctx context.Context) error {
	return c.persist(ctx, func() error {
		found, err := c.Client.Claim(ctx, c.Claim.Namespace, c.Claim.Name)
		if err == nil && found == nil {
			return fault.New(fault.UnknownMachine, "claim %s: there is none of that name", c.name()).
				WithRemedy("Was it released already? See what there is with: kubectl get machineclaims")
		}
		if err == nil {
			c.Claim = found
		}
		return err
	})
}

// Wait waits until the machine is handed over, and returns the Secret's name.
func (c *Claimer) Wait(ctx context.Context) (secret string, err error) {
	for pause := firstLook; ; pause = min(2*pause, lastLook) {
		if secret, err = c.look(ctx); err != nil || secret != "" {
			return secret, err
		}
		select {
		case <-ctx.Done():
			return "", ctx.Err()
		case <-time.After(pause):
		}
	}
}

// look asks for the claim, and returns its Secret's name when that is written.
func (c *Claimer) look(ctx context.Context) (secret string, err error) {
	var now *v1alpha1.MachineClaim
	err = c.persist(ctx, func() error {
		now, err = c.Client.Claim(ctx, c.Claim.Namespace, c.Claim.Name)
		return err
	})
	if err != nil {
		return "", err
	}
	if now == nil || now.UID != c.Claim.UID {
		return "", fault.New(fault.Interrupted, "claim %s: was deleted before it had a machine", c.name())
	}
	c.Claim = now
	bound := meta.FindStatusCondition(now.Status.Conditions, v1alpha1.ClaimConditionBound)
	switch {
	case now.Status.Phase == v1alpha1.ClaimFailed && bound != nil:
		return "", fault.New(fault.ProviderRefused, "claim %s: will never get a machine: %s: %s", c.name(), bound.Reason, bound.Message)
	case now.Status.Phase == v1alpha1.ClaimReleased:
		return "", fault.New(fault.Interrupted, "claim %s: was released, and its machine is no longer its own", c.name())
	case bound != nil && bound.Reason == "PoolNotFound":
		return "", fault.New(fault.UnknownPool, "claim %s: %s", c.name(), bound.Message)
	case now.Status.Phase == v1alpha1.ClaimBound && bound != nil && bound.Status == "False":
		return "", fault.New(fault.MachineLost, "claim %s: %s", c.name(), bound.Message)
	case meta.IsStatusConditionTrue(now.Status.Conditions, v1alpha1.ClaimConditionReady):
		return now.Status.SecretName, nil
	case bound != nil && now.Status.Phase != v1alpha1.ClaimBound:
		c.tell(now, bound.Message)
	}
	return "", nil
}

func (c *Claimer) name() string { return c.Claim.Namespace + "/" + c.Claim.Name }

// tell says why it waits, whenever that changes.
func (c *Claimer) tell(now *v1alpha1.MachineClaim, why string) {
	text := fmt.Sprintf("waits for a machine of pool %s", now.Spec.Pool)
	if n := now.Status.Position; n > 0 {
		text += fmt.Sprintf(", number %d in the queue", n)
	}
	if why != "" {
		text += ": " + why
	}
	if text != c.told {
		c.told = text
		c.Say(text)
	}
}

// Login reads what reaches the machine.
func (c *Claimer) Login(ctx context.Context, secret string) (login handoff.Claim, err error) {
	var data map[string][]byte
	err = c.persist(ctx, func() error {
		data, err = c.Client.Secret(ctx, c.Claim.Namespace, secret)
		return err
	})
	if err != nil {
		return login, err
	}
	return handoff.ParseClaim(data[handoff.SecretKey])
}

// Release gives the machine back, or leaves the queue; it goes on after ctx is cancelled. A claim
// that is gone is no error.
func (c *Claimer) Release(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), releaseLimit)
	defer cancel()
	// Without a UID the claim's creation was never answered; the name is ours alone.
	return c.persist(ctx, func() error { return c.Client.DeleteClaim(ctx, c.Claim.Namespace, c.Claim.Name, c.Claim.UID) })
}

// persist repeats op while the API server is what does not answer.
func (c *Claimer) persist(ctx context.Context, op func() error) error {
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
