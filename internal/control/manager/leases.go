package manager

import (
	"context"
	"crypto/rand"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/machine"
)

// The Secret that the keys of slots are derived from. Whoever deletes it makes the slots that are taken then ones of
// somebody else, until they expire.
const (
	leasesName = "outrigger-leases"
	leasesKey  = "secret"
	leasesSize = 32
)

// leaseSecret reads that Secret, and makes it the first time. Replicas that do so at once agree on one.
func leaseSecret(ctx context.Context, reader client.Reader, writer client.Client, namespace string) (machine.Secret, error) {
	key := client.ObjectKey{Namespace: namespace, Name: leasesName}
	var s corev1.Secret
	err := reader.Get(ctx, key, &s)
	if apierrors.IsNotFound(err) {
		random := make([]byte, leasesSize)
		_, _ = rand.Read(random) // never fails
		s = corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: leasesName}, Data: map[string][]byte{leasesKey: random}}
		if err = writer.Create(ctx, &s); apierrors.IsAlreadyExists(err) {
			err = reader.Get(ctx, key, &s)
		}
	}
	switch {
	case err != nil:
		return machine.Secret{}, fault.New(fault.Unreachable, "controller: Secret %s/%s, for slots of hosts: %w", namespace, leasesName, err)
	case len(s.Data[leasesKey]) < leasesSize:
		return machine.Secret{}, fault.New(fault.Config, "controller: Secret %s/%s: %s has %d bytes, want %d", namespace, leasesName, leasesKey,
			len(s.Data[leasesKey]), leasesSize).WithRemedy("Delete it while no slot of a host is taken; the controller makes it anew.")
	}
	return machine.NewSecret(string(s.Data[leasesKey])), nil
}
