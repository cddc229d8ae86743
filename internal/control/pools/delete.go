package pools

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"outrigger.dev/outrigger/api/v1alpha1"
	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/handoff"
	"outrigger.dev/outrigger/internal/machine"
	"outrigger.dev/outrigger/internal/provider"
)

// delete ends the machine at its provider, then its object. The object stays
// until the provider has confirmed: nothing else remembers the machine.
func (k *keeper) delete(ctx context.Context, m *v1alpha1.Machine) (next, error) {
	if !controllerutil.ContainsFinalizer(m, v1alpha1.FinalizerMachine) {
		return next{}, client.IgnoreNotFound(k.client.Delete(ctx, m))
	}
	k.stats.forget(m)
	p := k.view.pool(m.Spec.Pool)
	place, err := k.place(ctx, p)
	if err == nil {
		limit, cancel := context.WithTimeout(ctx, k.Times.Call)
		defer cancel()
		remind(place, m)
		if place.Lasting {
			err = k.leave(limit, p, place, m)
		}
		if err == nil {
			err = place.Delete(limit, machine.Name(m.Name))
		}
	}
	if ctx.Err() != nil {
		return next{}, ctx.Err()
	}
	if err != nil {
		k.meters.deleteFailed(m.Spec.Pool, string(fault.Of(err)))
		k.Log.Info("deletion is tried again", "pool", m.Spec.Pool, "machine", m.Name, "error", err)
		wait := min(k.Times.BackoffMost, max(k.Times.Backoff, k.now().Sub(since(m))/4))
		return next{after: jitter(wait)}, k.setStatus(ctx, m, func(st *v1alpha1.MachineStatus) {
			notReady(m, st, "DeleteFailed", err.Error())
		})
	}
	secret := k.loginName(m)
	login := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: secret.Namespace, Name: secret.Name}}
	if err := client.IgnoreNotFound(k.client.Delete(ctx, login)); err != nil {
		return next{}, err
	}
	if m.DeletionTimestamp.IsZero() {
		if err := client.IgnoreNotFound(k.client.Delete(ctx, m, client.Preconditions{UID: &m.UID})); err != nil {
			return next{}, err
		}
	}
	return next{}, k.letGo(ctx, m)
}

// remind tells the provider where the machine was, which outlives a restart of ours.
func remind(place Place, m *v1alpha1.Machine) {
	if r, ok := provider.As[provider.Reminded](place.Provider); ok && m.Status.Address != "" {
		r.Remind(machine.Name(m.Name), machine.Endpoint{Host: m.Status.Address, Port: int(m.Status.Port)})
	}
}

// leave takes back what preparing has put on a host. One that does not let us in any
// more was changed by somebody, who has to look after it.
func (k *keeper) leave(ctx context.Context, p *v1alpha1.MachinePool, place Place, m *v1alpha1.Machine) error {
	w, err := k.workOn(ctx, p, place, m)
	switch {
	case fault.Is(err, fault.UnknownMachine):
		return nil // it never was one, or was left already
	case fault.Is(err, fault.Config) && w.Pool != nil: // a Secret is gone that was only for preparing
	case err != nil:
		return err
	}
	var own *handoff.Claim
	login, err := k.login(ctx, m)
	switch {
	case err == nil:
		own = &login
	case !apierrors.IsNotFound(err):
		return err
	}
	err = k.Readier.Leave(ctx, w, own)
	if fault.Is(err, fault.AuthRefused) || fault.Is(err, fault.HostKey) {
		k.Log.Warn("host not tidied up", "pool", m.Spec.Pool, "machine", m.Name, "error", err)
		return nil
	}
	return err
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
