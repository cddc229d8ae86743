package pods

import (
	"context"
	"encoding/json"
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
	// Made before this process died, or its answer was lost; or of an earlier claim of that name. It may also be
	// somebody's who wants the Pod on another machine: what counts is what is in it.
	old, found := r.findSecret(ctx, c)
	switch {
	case found != nil:
		return found
	case old == nil:
		return err // just gone: again
	}
	if same, err := r.holds(ctx, old, data); err != nil || same {
		return err
	}
	if err := r.deleteExactly(ctx, old); err != nil {
		return err
	}
	s.ResourceVersion = ""
	return r.client.Create(ctx, s)
}

func ownedBy(s *metav1.PartialObjectMetadata, c *v1alpha1.MachineClaim) bool {
	return slices.ContainsFunc(s.OwnerReferences, func(o metav1.OwnerReference) bool { return o.UID == c.UID })
}

// The controller may not read Secrets where Pods are. A patch that only tests changes nothing, fails if the Secret is
// another, and is answered here with the metadata alone.

// findSecret returns the Secret of claims of c's name, or nil if there is none. That of somebody else, which does not
// even say that it is Outrigger's, is an error.
func (r *reconciler) findSecret(ctx context.Context, c *v1alpha1.MachineClaim) (*metav1.PartialObjectMetadata, error) {
	s := &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{Namespace: c.Namespace, Name: secretName(c.Name)}}
	label := "/metadata/labels/" + strings.ReplaceAll(v1alpha1.LabelClaim, "/", "~1")
	same, err := r.test(ctx, s, map[string]any{label: c.Name})
	switch {
	case apierrors.IsNotFound(err):
		return nil, nil
	case err != nil:
		return nil, err
	case !same:
		return nil, fault.New(fault.NameTaken, "Secret %s/%s is not Outrigger's", s.Namespace, s.Name).
			WithRemedy("Delete it, or give it another name: names that begin with outrigger- are Outrigger's.")
	}
	return s, nil
}

// holds tells whether a Secret has exactly this content for good. Who does not know the machine's key cannot have
// made one that does.
func (r *reconciler) holds(ctx context.Context, s *metav1.PartialObjectMetadata, data []byte) (bool, error) {
	content := map[string][]byte{handoff.SecretKey: data}
	same, err := r.test(ctx, s.DeepCopy(), map[string]any{"/metadata/uid": s.UID, "/immutable": true, "/data": content})
	return same, client.IgnoreNotFound(err)
}

// test tells whether the Secret has these values, and fills in its metadata.
func (r *reconciler) test(ctx context.Context, s *metav1.PartialObjectMetadata, values map[string]any) (bool, error) {
	var tests []map[string]any
	for path, value := range values {
		tests = append(tests, map[string]any{"op": "test", "path": path, "value": value})
	}
	patch, err := json.Marshal(tests)
	if err != nil {
		return false, err
	}
	s.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Secret"))
	err = r.client.Patch(ctx, s, client.RawPatch(types.JSONPatchType, patch))
	if apierrors.IsInvalid(err) {
		return false, nil
	}
	return err == nil, err
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

func (r *reconciler) deleteExactly(ctx context.Context, s *metav1.PartialObjectMetadata) error {
	uid := s.UID
	return client.IgnoreNotFound(r.client.Delete(ctx, s, client.Preconditions{UID: &uid}))
}
