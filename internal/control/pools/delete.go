package pools

import (
	"context"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"outrigger.dev/outrigger/api/v1alpha1"
	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/machine"
)

// delete ends the machine at its provider, then its object. The object stays
// until the provider has confirmed: nothing else remembers the machine.
func (k *keeper) delete(ctx context.Context, m *v1alpha1.Machine) (next, error) {
	if !controllerutil.ContainsFinalizer(m, v1alpha1.FinalizerMachine) {
		return next{}, client.IgnoreNotFound(k.client.Delete(ctx, m))
	}
	place, err := k.place(ctx, k.view.pool(m.Spec.Pool))
	if err == nil {
		limit, cancel := context.WithTimeout(ctx, k.Times.Call)
		defer cancel()
		err = place.Delete(limit, machine.Name(m.Name))
	}
	if ctx.Err() != nil {
		return next{}, ctx.Err()
	}
	if err != nil {
		k.meters.deleteFailed(m.Spec.Pool, string(fault.Of(err)))
		k.Log.Info("deletion is tried again", "pool", m.Spec.Pool, "machine", m.Name, "error", err)
		wait := min(k.Times.BackoffMost, max(k.Times.Backoff, time.Since(since(m))/4))
		return next{after: jitter(wait)}, k.setStatus(ctx, m, func(st *v1alpha1.MachineStatus) {
			notReady(m, st, "DeleteFailed", err.Error())
		})
	}
	secret := k.loginName(m)
	login := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: secret.Namespace, Name: secret.Name}}
	if err := client.IgnoreNotFound(k.client.Delete(ctx, login)); err != nil {
		return next{}, err
	}
	k.stats.forget(m)
	if m.DeletionTimestamp.IsZero() {
		if err := client.IgnoreNotFound(k.client.Delete(ctx, m, client.Preconditions{UID: &m.UID})); err != nil {
			return next{}, err
		}
	}
	return next{}, k.letGo(ctx, m)
}

// letGo removes our finalizer, and so the object.
func (k *keeper) letGo(ctx context.Context, m *v1alpha1.Machine) error {
	var last v1alpha1.Machine
	if err := k.live.Get(ctx, client.ObjectKeyFromObject(m), &last); err != nil || last.UID != m.UID {
		return client.IgnoreNotFound(err)
	}
	if !controllerutil.RemoveFinalizer(&last, v1alpha1.FinalizerMachine) {
		return nil
	}
	// Before: who hears that it is gone must not find it in what was written.
	k.view.wroteMachines.forget(m.Name, m.UID)
	if err := client.IgnoreNotFound(k.client.Update(ctx, &last)); err != nil {
		return err
	}
	k.Log.Info("machine deleted", "pool", m.Spec.Pool, "machine", m.Name)
	return nil
}
