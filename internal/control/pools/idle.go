package pools

import (
	"context"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"

	"outrigger.dev/outrigger/api/v1alpha1"
	"outrigger.dev/outrigger/internal/fault"
)

// idle checks from time to time whether a free machine would serve, and notes that one was bound. A machine that does
// not pass is not given to anybody until it does, or is given up.
func (k *keeper) idle(ctx context.Context, m *v1alpha1.Machine) (next, error) {
	if m.Spec.Claim != nil {
		k.stats.checks.forget(m.UID)
		err := k.setStatus(ctx, m, func(st *v1alpha1.MachineStatus) {
			st.Phase, st.LeasedAt = v1alpha1.MachineLeased, k.stamp()
		})
		return next{now: true}, err
	}
	p := k.view.pool(m.Spec.Pool)
	s := subjectOf(p, m)
	due := k.stats.checks.due(s, k.Times.Check)
	if due <= 0 {
		illness, err := k.check(ctx, m, k.Times.Call)
		if err != nil {
			return next{}, err
		}
		k.looked(s, m, illness)
		due = k.stats.checks.due(s, k.Times.Check)
	}
	e := k.stats.checks.get(m.UID)
	if e.failures > 0 {
		if what, _ := k.judge(k.stats.checks, p, m); what == givenUp {
			// Bound meanwhile: then the write conflicts, and whoever has it will see.
			return k.fail(ctx, m, string(e.kind), "health check: "+e.words)
		}
	}
	return next{after: due}, k.showHealth(ctx, m, e)
}

// check looks at a machine over SSH. An error is the API server's, or ours, and says nothing of the machine.
func (c *core) check(ctx context.Context, m *v1alpha1.Machine, limit time.Duration) (illness, err error) {
	login, err := c.login(ctx, m)
	switch {
	case apierrors.IsNotFound(err):
		return err, nil // nobody can enter it any more
	case err != nil && fault.Of(err) == fault.Internal:
		return nil, err
	case err != nil:
		return err, nil
	}
	limited, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	illness = c.Readier.Check(limited, login)
	return illness, ctx.Err()
}

// looked notes a checc.
func (c *core) looked(s subject, m *v1alpha1.Machine, illness error) {
	var changed bool
	if illness == nil {
		changed = c.stats.checks.passed(s, c.Times.Check)
	} else {
		c.Log.Info("health check failed", "pool", m.Spec.Pool, "machine", m.Name, "error", illness)
		changed = c.stats.checks.failed(s, c.Times.Check, illness)
	}
	if changed && c.view.pool(m.Spec.Pool) != nil {
		c.herald.dirty(m.Spec.Pool)
	}
}

// firstLook bounds the check of a machine that a claim is about to get: the other claims of the pool wait as long.
const firstLook = 10 * time.Second

// serves tells whether a machine may be given to a claim. One that this process has not looked at, and that has been
// idle for a while, may have died with the controller before: it is looked at first.
func (c *core) serves(ctx context.Context, p *v1alpha1.MachinePool, m *v1alpha1.Machine) (bool, error) {
	if c.stats.checks.get(m.UID).looked || c.now().Sub(since(m)) < c.Times.Check {
		return true, nil
	}
	illness, err := c.check(ctx, m, firstLook)
	if err != nil {
		return false, err
	}
	c.looked(subjectOf(p, m), m, illness)
	return illness == nil, nil
}

// looksIll tells whether the last look at a machine, or at its provider's list, found it wanting.
func (c *core) looksIll(m *v1alpha1.Machine) bool {
	return c.stats.checks.get(m.UID).failures > 0 || c.stats.listed.get(m.UID).failures > 0
}

// showHealth writes whether the machine answered when it was last asked, if that has changed.
func (k *keeper) showHealth(ctx context.Context, m *v1alpha1.Machine, e entry) error {
	answers := e.failures == 0
	shown := meta.FindStatusCondition(m.Status.Conditions, v1alpha1.MachineReachable)
	if !e.looked || answers == (shown == nil || shown.Status == status(true)) {
		return nil
	}
	return k.setStatus(ctx, m, func(st *v1alpha1.MachineStatus) {
		if answers {
			condition(m, st, v1alpha1.MachineReachable, true, "Answers", "")
		} else {
			condition(m, st, v1alpha1.MachineReachable, false, string(e.kind), e.words)
		}
	})
}
