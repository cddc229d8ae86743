package pools

import (
	"context"

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
		illness, err := k.check(ctx, m)
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
func (k *keeper) check(ctx context.Context, m *v1alpha1.Machine) (illness, err error) {
	login, err := k.login(ctx, m)
	switch {
	case apierrors.IsNotFound(err):
		return err, nil // nobody can enter it any more
	case err != nil && fault.Of(err) == fault.Internal:
		return nil, err
	case err != nil:
		return err, nil
	}
	limit, cancel := context.WithTimeout(ctx, k.Times.Call)
	defer cancel()
	illness = k.Readier.Check(limit, login)
	return illness, ctx.Err()
}

// looked notes a check.
func (k *keeper) looked(s subject, m *v1alpha1.Machine, illness error) {
	var changed bool
	if illness == nil {
		changed = k.stats.checks.passed(s, k.Times.Check)
	} else {
		k.Log.Info("health check failed", "pool", m.Spec.Pool, "machine", m.Name, "error", illness)
		changed = k.stats.checks.failed(s, k.Times.Check, illness)
	}
	if changed && k.view.pool(m.Spec.Pool) != nil {
		k.herald.dirty(m.Spec.Pool)
	}
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
