package pools

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"outrigger.dev/outrigger/api/v1alpha1"
)

// reasonForbidden is the reason of a claim's condition Bound when its namespace may
// not use the pool.
const reasonForbidden = "NamespaceNotAllowed"

// allow leaves out the claims whose namespaces may not use the pool, and fails them.
// Pods are refused by the webhook already; who may make claims makes them past it.
func (s *scheduler) allow(ctx context.Context, p *v1alpha1.MachinePool, claims []*v1alpha1.MachineClaim) ([]*v1alpha1.MachineClaim, error) {
	if p.Spec.AllowedNamespaces == nil {
		return claims, nil
	}
	selector, err := metav1.LabelSelectorAsSelector(p.Spec.AllowedNamespaces)
	if err != nil {
		selector = labels.Nothing() // nobody knows whom it means
	}
	may := map[string]bool{}
	var out []*v1alpha1.MachineClaim
	for _, cl := range claims {
		if !isQueued(cl) || s.builds(cl) {
			out = append(out, cl) // it has its machine, or builds an image for those who may use the pool
			continue
		}
		ok, known := may[cl.Namespace]
		if !known {
			var ns corev1.Namespace
			if err := s.client.Get(ctx, client.ObjectKey{Name: cl.Namespace}, &ns); err != nil {
				return nil, err
			}
			ok = selector.Matches(labels.Set(ns.Labels))
			may[cl.Namespace] = ok
		}
		if ok {
			out = append(out, cl)
			continue
		}
		message := fmt.Sprintf("pool %s may not be used in namespace %s: its allowedNamespaces is %s", p.Name, cl.Namespace, selector)
		if err := s.failClaim(ctx, cl, reasonForbidden, message); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// builds tells whether a claim is a MachineImage's. Only the controller's own namespace has such.
func (c *core) builds(cl *v1alpha1.MachineClaim) bool {
	return cl.Namespace == c.Namespace && cl.Labels[v1alpha1.LabelImage] != ""
}

// failClaim ends a claim that will never be served.
func (c *core) failClaim(ctx context.Context, cl *v1alpha1.MachineClaim, reason, message string) error {
	cl = cl.DeepCopy()
	st := &cl.Status
	st.Phase, st.Position, st.ExpectedWait = v1alpha1.ClaimFailed, 0, ""
	meta.SetStatusCondition(&st.Conditions, metav1.Condition{
		Type: v1alpha1.ClaimConditionBound, Status: metav1.ConditionFalse, ObservedGeneration: cl.Generation,
		Reason: reason, Message: clip(message),
	})
	if err := c.client.Status().Update(ctx, cl); err != nil {
		return err
	}
	c.view.wroteClaims.wrote(cl)
	c.Log.Info("claim refused", "pool", cl.Spec.Pool, "claim", key(cl), "reason", reason, "message", message)
	c.event(cl, warning, reason, message)
	return nil
}
