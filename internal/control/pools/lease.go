package pools

import (
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"outrigger.dev/outrigger/api/v1alpha1"
	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/machine"
	"outrigger.dev/outrigger/internal/pool"
)

// over tells whether the machine's claim is over, or has another machine.
func (k *keeper) over(ctx context.Context, m *v1alpha1.Machine) (bool, error) {
	ref := m.Spec.Claim
	ends := func(cl *v1alpha1.MachineClaim) bool {
		st := cl.Status
		return string(cl.UID) != ref.UID || !cl.DeletionTimestamp.IsZero() || st.Phase == v1alpha1.ClaimReleased || st.Phase == v1alpha1.ClaimFailed ||
			st.Machine != "" && st.Machine != m.Name
	}
	cl := k.view.claim(ref.Namespace, ref.Name)
	if cl != nil && !ends(cl) && k.view.seesClaim(ref.Namespace, ref.Name) {
		return false, nil
	}
	// The cache may be behind, and a release is for good. Of a claim that it does not have only what we
	// wrote ourselves is known; if that one was deleted, nothing will wake us again.
	cl = &v1alpha1.MachineClaim{}
	err := k.live.Get(ctx, client.ObjectKey{Namespace: ref.Namespace, Name: ref.Name}, cl)
	if apierrors.IsNotFound(err) {
		return true, nil
	}
	return err == nil && ends(cl), err
}

// leased ends the lease when its claim is over.
func (k *keeper) leased(ctx context.Context, m *v1alpha1.Machine) (next, error) {
	if m.Spec.Claim == nil { // nothing of ours writes that
		return k.enter(ctx, m, v1alpha1.MachineReleasing, "Released", "")
	}
	over, err := k.over(ctx, m)
	if err != nil || !over {
		return next{}, err
	}
	k.stats.forget(m)
	if p := k.view.pool(m.Spec.Pool); p != nil && m.Status.LeasedAt != nil {
		took := k.now().Sub(m.Status.LeasedAt.Time)
		k.stats.leased(p, took)
		k.meters.leased(p.Name, took)
	}
	return k.enter(ctx, m, v1alpha1.MachineReleasing, "Released", fmt.Sprintf("claim %s/%s is over", m.Spec.Claim.Namespace, m.Spec.Claim.Name))
}

// release cleans the machine, or hands it to its deletion. A machine that is
// clean has no claim any more; that is written before it is free.
func (k *keeper) release(ctx context.Context, m *v1alpha1.Machine) (next, error) {
	p, err := k.poolOf(ctx, m)
	if err != nil {
		return next{}, err
	}
	if m.Spec.Claim == nil {
		return k.free(ctx, p, m)
	}
	if p == nil {
		return k.enter(ctx, m, v1alpha1.MachineDeleting, "PoolDeleted", "")
	}
	planned := k.planned(p)
	after := plannedMachine(planned, m, k.now())
	place, err := k.place(ctx, p)
	if err != nil {
		k.Log.Info("release is tried again", "machine", m.Name, "error", err)
		return next{after: jitter(k.Times.Backoff)}, nil
	}
	policy := policyOf(p)
	if policy == v1alpha1.ReuseClean || place.Lasting {
		if n, err := k.clean(ctx, p, place, m, after.Returns); !n.now || err != nil {
			return n, err
		}
	}
	if !after.Returns {
		return k.enter(ctx, m, v1alpha1.MachineDeleting, "Used", "")
	}
	if policy == v1alpha1.ReuseRevert {
		if n, err := k.revert(ctx, place, m); !n.now || err != nil {
			return n, err
		}
	}
	m = m.DeepCopy()
	m.Spec.Claim = nil
	if err := k.client.Update(ctx, m); err != nil {
		return next{}, err
	}
	k.view.wroteMachines.wrote(m)
	return next{now: true}, nil
}

// clean ends what the claim has left. A machine that cannot be cleaned is not used again; one that does not answer gets
// as long as an idle one that does not.
func (k *keeper) clean(ctx context.Context, p *v1alpha1.MachinePool, place Place, m *v1alpha1.Machine, again bool) (next, error) {
	login, err := k.login(ctx, m)
	if err != nil && !apierrors.IsNotFound(err) {
		return next{}, err
	}
	limit, cancel := context.WithTimeout(ctx, k.Times.Call)
	defer cancel()
	if err == nil {
		var w Work
		if w, err = k.workOn(limit, p, place, m); err == nil {
			login.Lease = LeaseName(m.Spec.Claim.Name, types.UID(m.Spec.Claim.UID))
			login, err = k.Readier.Release(limit, login, w, again)
		}
	}
	if ctx.Err() != nil {
		return next{}, ctx.Err()
	}
	age := k.now().Sub(since(m))
	mayPass := limit.Err() != nil || fault.Lookup(fault.Of(err)).Retry || onTheWay(err)
	switch {
	case err != nil && mayPass && (age < k.Times.Toleration || k.held(p) != ""):
		k.Log.Info("release is tried again", "machine", m.Name, "error", err)
		wait := min(k.Times.BackoffMost, max(k.Times.Backoff, age/4))
		return next{after: jitter(wait)}, k.setStatus(ctx, m, func(st *v1alpha1.MachineStatus) {
			notReady(m, st, "ReleaseFailed", err.Error())
		})
	case err != nil:
		return k.enter(ctx, m, v1alpha1.MachineDeleting, "ReleaseFailed", err.Error())
	}
	return next{now: true}, k.keepLogin(ctx, m, login)
}

// revert lets the provider make the machine anew. It is prepared again before it is free.
func (k *keeper) revert(ctx context.Context, place Place, m *v1alpha1.Machine) (next, error) {
	limit, cancel := context.WithTimeout(ctx, k.Times.Call)
	defer cancel()
	if err := place.Delete(limit, machine.Name(m.Name)); err != nil {
		k.Log.Info("revert is tried again", "machine", m.Name, "error", err)
		return next{after: jitter(k.Times.Backoff)}, nil
	}
	return next{now: true}, nil
}

// free puts a machine back that was released: to the idle ones, or to where it is made
// anew from its image.
func (k *keeper) free(ctx context.Context, p *v1alpha1.MachinePool, m *v1alpha1.Machine) (next, error) {
	if p == nil {
		return k.enter(ctx, m, v1alpha1.MachineDeleting, "PoolDeleted", "")
	}
	after := plannedMachine(k.planned(p), m, k.now())
	after.Uses++
	err := k.setStatus(ctx, m, func(st *v1alpha1.MachineStatus) {
		st.Uses++
		st.Phase = v1alpha1.MachineIdle
		condition(m, st, v1alpha1.MachineReady, true, "Released", "")
		if policyOf(p) == v1alpha1.ReuseRevert {
			st.Phase, st.HostKeys = v1alpha1.MachineCreating, nil
			notReady(m, st, "Reverting", "")
		}
		if pool.Outdated(k.planned(p), after, k.now()) {
			st.Phase = v1alpha1.MachineDeleting
			notReady(m, st, string(pool.WhyOutdated), "")
		}
	})
	return next{now: true}, err
}

// failed deletes a machine that was given up, once nobody has it.
func (k *keeper) failed(ctx context.Context, m *v1alpha1.Machine) (next, error) {
	why := meta.FindStatusCondition(m.Status.Conditions, v1alpha1.MachineReady)
	reason, message := string(fault.MachineLost), ""
	if why != nil {
		reason, message = why.Reason, why.Message
	}
	if m.Spec.Claim != nil {
		over, err := k.over(ctx, m)
		if err != nil {
			return next{}, err
		}
		if !over {
			return next{}, k.lost(ctx, m, reason, message)
		}
	} else if err := k.refuse(ctx, m, reason, message); err != nil {
		return next{}, err
	}
	return k.enter(ctx, m, v1alpha1.MachineDeleting, reason, message)
}

// lost tells the claim that its machine is gone.
func (k *keeper) lost(ctx context.Context, m *v1alpha1.Machine, reason, message string) error {
	cl := k.view.claim(m.Spec.Claim.Namespace, m.Spec.Claim.Name)
	if cl == nil || string(cl.UID) != m.Spec.Claim.UID {
		return nil
	}
	cl = cl.DeepCopy()
	changed := meta.SetStatusCondition(&cl.Status.Conditions, metav1.Condition{
		Type: v1alpha1.ClaimConditionBound, Status: metav1.ConditionFalse, ObservedGeneration: cl.Generation,
		Reason: reason, Message: clip(fmt.Sprintf("machine %s is lost: %s", m.Name, message)),
	})
	if !changed {
		return nil
	}
	if err := k.client.Status().Update(ctx, cl); err != nil {
		return err
	}
	k.view.wroteClaims.wrote(cl)
	k.herald.onClaim(cl, warning, "MachineLost", fmt.Sprintf("Machine %s is lost: %s: %s", m.Name, reason, message))
	return nil
}
