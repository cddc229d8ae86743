package pods

import (
	"context"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"outrigger.dev/outrigger/api/v1alpha1"
	"outrigger.dev/outrigger/internal/fault"
)

// do carries out one step.
func (r *reconciler) do(ctx context.Context, l *look, s *seat, step Step) error {
	switch step.Do {
	case Create:
		return r.create(ctx, l, s)
	case Tell:
		return r.tell(ctx, s, step)
	case HandOver:
		return r.handOver(ctx, l, s)
	case Keep:
		return r.keep(ctx, l, s, step)
	case Release:
		return r.release(ctx, l, s, step)
	case Drop:
		return r.drop(ctx, l, s, step)
	case Fail:
		return r.fail(ctx, s, step)
	}
	return fmt.Errorf("no such step: %q", step.Do)
}

// create makes the Pod's claim. If one of that name is there already, the cache is behind.
func (r *reconciler) create(ctx context.Context, l *look, s *seat) error {
	spec, wrong := request(s.pod)
	if wrong != "" {
		return errors.New(wrong) // the decider has seen to it
	}
	c := &v1alpha1.MachineClaim{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: l.Namespace, Name: l.Name,
			Labels: map[string]string{v1alpha1.LabelPool: spec.Pool},
			// It does not block the Pod's deletion: in a foreground deletion it would
			// go first, and with it the machine, while the Pod still ends.
			OwnerReferences: []metav1.OwnerReference{{APIVersion: "v1", Kind: "Pod", Name: s.pod.Name, UID: s.pod.UID}},
		},
		Spec: spec,
	}
	err := r.client.Create(ctx, c)
	switch {
	case apierrors.IsInvalid(err):
		return r.fail(ctx, s, Step{Reason: "BadRequest", Message: err.Error()})
	case refused(err):
		return r.hindered(ctx, s, "ClaimRefused", err)
	case err != nil:
		return err
	}
	l.claim = c
	r.Log.Debug("claim made", "claim", l.String(), "pod", s.pod.Name, "pool", spec.Pool)
	return nil
}

// refused tells whether the API server may take on another day what it did not take now: a
// quota, or somebody's policy. A namespace that is going takes nothing any more.
func refused(err error) bool {
	return apierrors.IsForbidden(err) && !apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause)
}

// handOver gives the Pod its machine: the Secret first, then the gate, then what people read.
func (r *reconciler) handOver(ctx context.Context, l *look, s *seat) error {
	begun := r.now()
	login, err := r.login(ctx, l.claim)
	if err != nil {
		return err
	}
	if login == nil { // nothing has run there
		if s.pod != nil && isGated(s.pod) {
			return r.drop(ctx, l, s, Step{Reason: "MachineLost", Message: fmt.Sprintf("machine %s is gone; the Pod gets another one", l.claim.Status.Machine)})
		}
		return r.hindered(ctx, s, "MachineLost", fault.New(fault.MachineLost, "machine %s is gone", l.claim.Status.Machine))
	}
	switch err := r.writeSecret(ctx, l.claim, *login); {
	case refused(err), fault.Is(err, fault.NameTaken):
		return r.hindered(ctx, s, "SecretRefused", err)
	case err != nil:
		return err
	}
	if s.pod != nil && isGated(s.pod) {
		if err := r.liftGate(ctx, s.pod, l.claim.Status.Machine); err != nil {
			return err
		}
	}
	now := metav1.NewTime(r.now())
	took := now.Sub(begun)
	note := fmt.Sprintf("Machine %s of pool %s is handed over, %s after the claim was made",
		l.claim.Status.Machine, l.claim.Spec.Pool, roughly(now.Sub(l.claim.CreationTimestamp.Time)))
	if s.pod != nil {
		note += ": the Pod may be scheduled"
	}
	err = r.setStatus(ctx, l, func(st *v1alpha1.MachineClaimStatus) {
		st.SecretName, st.ReadyAt = secretName(l.Name), &now
		meta.SetStatusCondition(&st.Conditions, metav1.Condition{
			Type: v1alpha1.ClaimConditionReady, Status: metav1.ConditionTrue, ObservedGeneration: l.claim.Generation,
			Reason: "HandedOver", Message: "Secret " + secretName(l.Name) + " is written",
		})
	})
	if err != nil {
		return err
	}
	r.Log.Info("machine handed over", "claim", l.String(), "to", s.about().GetName(), "machine", l.claim.Status.Machine, "took", took)
	r.event(s.about(), corev1.EventTypeNormal, "HandedOver", note)
	return nil
}

// keep says that the machine stays for a while, for people to look at.
func (r *reconciler) keep(ctx context.Context, l *look, s *seat, step Step) error {
	err := r.setStatus(ctx, l, func(st *v1alpha1.MachineClaimStatus) {
		meta.SetStatusCondition(&st.Conditions, metav1.Condition{
			Type: v1alpha1.ClaimConditionReleased, Status: metav1.ConditionFalse, ObservedGeneration: l.claim.Generation,
			Reason: step.Reason, Message: clip(step.Message),
		})
	})
	if err == nil {
		r.event(s.about(), corev1.EventTypeWarning, "MachineKept", step.Message)
	}
	return err
}

// release gives the machine back. The Secret goes first: that the claim is Released says
// that nothing is left to do.
func (r *reconciler) release(ctx context.Context, l *look, s *seat, step Step) error {
	if err := r.deleteSecret(ctx, l.claim); err != nil {
		return err
	}
	now := metav1.NewTime(r.now())
	held := l.claim.Status.Machine
	err := r.setStatus(ctx, l, func(st *v1alpha1.MachineClaimStatus) {
		st.Phase, st.ReleasedAt, st.SecretName, st.Position, st.ExpectedWait = v1alpha1.ClaimReleased, &now, "", 0, ""
		meta.SetStatusCondition(&st.Conditions, metav1.Condition{
			Type: v1alpha1.ClaimConditionReleased, Status: metav1.ConditionTrue, ObservedGeneration: l.claim.Generation,
			Reason: step.Reason, Message: clip(step.Message),
		})
		meta.SetStatusCondition(&st.Conditions, metav1.Condition{
			Type: v1alpha1.ClaimConditionReady, Status: metav1.ConditionFalse, ObservedGeneration: l.claim.Generation,
			Reason: "Released", Message: "the Secret is deleted",
		})
	})
	if err != nil {
		return err
	}
	r.Log.Info("claim released", "claim", l.String(), "machine", held, "reason", step.Reason)
	if held == "" {
		r.event(s.about(), corev1.EventTypeNormal, "Released", "Left the queue of pool "+l.claim.Spec.Pool+": "+step.Message)
		return nil
	}
	had := now.Sub(l.claim.CreationTimestamp.Time)
	if at := l.claim.Status.BoundAt; at != nil {
		had = now.Sub(at.Time)
	}
	kind := corev1.EventTypeNormal
	if step.Warn {
		kind = corev1.EventTypeWarning
	}
	r.event(s.about(), kind, "Released", fmt.Sprintf("Gave machine %s back after %s: %s", held, roughly(had), step.Message))
	return nil
}

// drop deletes the claim: whatever machine it has is given back by that.
func (r *reconciler) drop(ctx context.Context, l *look, s *seat, step Step) error {
	if err := r.deleteSecret(ctx, l.claim); err != nil {
		return err
	}
	uid := l.claim.UID
	err := r.client.Delete(ctx, l.claim, client.Preconditions{UID: &uid})
	if client.IgnoreNotFound(err) != nil {
		return err
	}
	l.claim = nil
	r.Log.Info("claim deleted", "claim", l.String(), "reason", step.Reason)
	if about := s.about(); about != nil {
		r.event(about, corev1.EventTypeWarning, step.Reason, step.Message)
	}
	return nil
}

// setStatus writes the claim's status, if the claim is as we saw it.
func (r *reconciler) setStatus(ctx context.Context, l *look, change func(*v1alpha1.MachineClaimStatus)) error {
	c := l.claim.DeepCopy()
	change(&c.Status)
	if err := r.client.Status().Update(ctx, c); err != nil {
		return err
	}
	l.claim = c
	return nil
}
