package pools

import (
	"context"

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
		if err := k.failClaim(ctx, cl, reason, message); err != nil {
			return err
		}
	}
	return nil
}
