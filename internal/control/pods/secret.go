package pods

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"outrigger.dev/outrigger/api/v1alpha1"
	"outrigger.dev/outrigger/internal/control/pools"
	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/handoff"
)

// secretName is the name of the Secret that the Pods of a claim mount.
func secretName(claim string) string { return "outrigger-" + claim }

// login returns how the claim's machine is reached; nil: it is gone, or is not the claim's any more.
func (r *reconciler) login(ctx context.Context, c *v1alpha1.MachineClaim) (*handoff.Claim, error) {
	return pools.HeldLogin(ctx, r.live, r.Namespace, c, r.Renew)
}

// writeSecret makes the Secret with which the Pod's relays reach the machine. It is immutable:
// so kubelets need not watch it.
func (r *reconciler) writeSecret(ctx context.Context, c *v1alpha1.MachineClaim, login handoff.Claim) error {
	data, err := json.Marshal(login)
	if err != nil {
		return fault.New(fault.Internal, "claim %s: %w", login.Name, err)
	}
	s := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: c.Namespace, Name: secretName(c.Name),
			Labels: map[string]string{v1alpha1.LabelClaim: c.Name, v1alpha1.LabelPool: c.Spec.Pool, v1alpha1.LabelMachine: c.Status.Machine},
			OwnerReferences: []metav1.OwnerReference{{
				APIVersion: v1alpha1.GroupVersion.String(), Kind: "MachineClaim", Name: c.Name, UID: c.UID,
			}},
		},
		Immutable: new(true),
		Data:      map[string][]byte{handoff.SecretKey: data},
	}
	err = r.client.Create(ctx, s)
	if !apierrors.IsAlreadyExists(err) {
		return err
	}
	old, found := r.findSecret(ctx, c)
	switch {
	case found != nil:
		return found
	case old == nil:
		return err // just gone: again
	case ownedBy(old, c):
		return nil // made before this process died, or its answer was lost
	}
	if err := r.deleteExactly(ctx, old); err != nil { // of an earlier claim of that name
		return err
	}
	s.ResourceVersion = ""
	return r.client.Create(ctx, s)
}

func ownedBy(s *corev1.Secret, c *v1alpha1.MachineClaim) bool {
	return slices.ContainsFunc(s.OwnerReferences, func(o metav1.OwnerReference) bool { return o.UID == c.UID })
}

// findSecret returns the Secret of claims of c's name, or nil if there is none. The controller
// may not read Secrets where Pods are; a patch that only tests a label answers
// with the Secret, and changes nothing. That of somebody else is an error.
func (r *reconciler) findSecret(ctx context.Context, c *v1alpha1.MachineClaim) (*corev1.Secret, error) {
	s := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: c.Namespace, Name: secretName(c.Name)}}
	test := fmt.Sprintf(`[{"op":"test","path":"/metadata/labels/%s","value":%q}]`, strings.ReplaceAll(v1alpha1.LabelClaim, "/", "~1"), c.Name)
	err := r.client.Patch(ctx, s, client.RawPatch(types.JSONPatchType, []byte(test)))
	switch {
	case apierrors.IsNotFound(err):
		return nil, nil
	case apierrors.IsInvalid(err):
		return nil, fault.New(fault.NameTaken, "Secret %s/%s is not Outrigger's", s.Namespace, s.Name).
			WithRemedy("Delete it, or give it another name: names that begin with outrigger- are Outrigger's.")
	case err != nil:
		return nil, err
	}
	return s, nil
}

// deleteSecret deletes the claim's Secret, if it has one.
func (r *reconciler) deleteSecret(ctx context.Context, c *v1alpha1.MachineClaim) error {
	if c.Status.Machine == "" || c.Status.Phase == v1alpha1.ClaimReleased {
		return nil
	}
	s, err := r.findSecret(ctx, c)
	switch {
	case fault.Is(err, fault.NameTaken):
		return nil // then ours was never made
	case err != nil || s == nil || !ownedBy(s, c):
		return err
	}
	return r.deleteExactly(ctx, s)
}

func (r *reconciler) deleteExactly(ctx context.Context, s *corev1.Secret) error {
	uid := s.UID
	return client.IgnoreNotFound(r.client.Delete(ctx, s, client.Preconditions{UID: &uid}))
}
