package pools

import (
	"context"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"outrigger.dev/outrigger/api/v1alpha1"
	"outrigger.dev/outrigger/internal/fault"
)

// refuse fails the claim for which a machine was made of an image that does not exist: the next
// machine would fare no better. It is done while the machine is Failed, and before it goes, so that a
// controller that dies in between does it again.
func (k *keeper) refuse(ctx context.Context, m *v1alpha1.Machine, reason, message string) error {
	uid := m.Annotations[v1alpha1.AnnotationMadeFor]
	if uid == "" || reason != string(fault.UnknownImage) {
		return nil
	}
	for _, cl := range k.view.claimsOf(m.Spec.Pool) {
		if string(cl.UID) != uid || !isQueued(cl) {
			continue
		}
		cl = cl.DeepCopy()
		st := &cl.Status
		st.Phase, st.Position, st.ExpectedWait = v1alpha1.ClaimFailed, 0, ""
		meta.SetStatusCondition(&st.Conditions, metav1.Condition{
			Type: v1alpha1.ClaimConditionBound, Status: metav1.ConditionFalse, ObservedGeneration: cl.Generation,
			Reason: reason, Message: clip(message),
		})
		if err := k.client.Status().Update(ctx, cl); err != nil {
			return err
		}
		k.view.wroteClaims.wrote(cl)
		k.Log.Info("claim refused", "pool", m.Spec.Pool, "claim", key(cl), "reason", reason, "message", message)
		k.event(cl, warning, reason, message)
	}
	return nil
}
