package pools

import (
	"context"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"outrigger.dev/outrigger/api/v1alpha1"
	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/handoff"
)

// HeldLogin returns how the machine of a claim is reached; nil: the machine is gone, or is not the
// claim's any more. The login is read before the machine is looked at, because a machine
// changes its login between two claims: what is read while the machine is still the claim's is its own.
func HeldLogin(ctx context.Context, live client.Reader, namespace string, c *v1alpha1.MachineClaim, renew func(handoff.Claim) (handoff.Claim, error)) (*handoff.Claim, error) {
	var s corev1.Secret
	switch err := live.Get(ctx, client.ObjectKey{Namespace: namespace, Name: LoginSecret(c.Status.Machine)}, &s); {
	case apierrors.IsNotFound(err):
		return nil, nil
	case err != nil:
		return nil, err
	}
	var m v1alpha1.Machine
	switch err := live.Get(ctx, client.ObjectKey{Name: c.Status.Machine}, &m); {
	case apierrors.IsNotFound(err):
		return nil, nil
	case err != nil:
		return nil, err
	}
	held := m.Spec.Claim != nil && m.Spec.Claim.UID == string(c.UID) && m.DeletionTimestamp.IsZero() &&
		slices.Contains([]v1alpha1.MachinePhase{v1alpha1.MachineIdle, v1alpha1.MachineLeased}, m.Status.Phase)
	if !held {
		return nil, nil
	}
	login, err := handoff.ParseClaim(s.Data[handoff.SecretKey])
	if err != nil {
		return nil, fault.New(fault.Internal, "Secret %s/%s: %w", s.Namespace, s.Name, err)
	}
	if renew != nil {
		if login, err = renew(login); err != nil {
			return nil, err
		}
	}
	login.Name, login.Lease = c.Namespace+"/"+c.Name, LeaseName(c.Name, c.UID)
	return &login, nil
}
