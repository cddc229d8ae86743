package pools

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"outrigger.dev/outrigger/api/v1alpha1"
	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/machine"
)

// place returns where a pool's machines come from.
func (c *core) place(ctx context.Context, p *v1alpha1.MachinePool) (Place, error) {
	if p == nil {
		return Place{}, fault.New(fault.Config, "the pool is gone").
			WithRemedy("Make the pool again: its provider is needed to delete its machines.")
	}
	place, err := OpenPlace(ctx, c.live, c.Namespace, c.Places, p)
	if err == nil {
		c.stats.token(p, place)
	}
	return place, err
}

// OpenPlace opens a pool's provider with the Secrets of the controller's namespace that the pool names.
func OpenPlace(ctx context.Context, live client.Reader, namespace string, places Places, p *v1alpha1.MachinePool) (Place, error) {
	var login, access *corev1.Secret
	var err error
	if l := p.Spec.Login; l != nil && l.SecretName != "" {
		if login, err = secret(ctx, live, namespace, "login", l.SecretName, "password or ssh-privatekey"); err != nil {
			return Place{}, err
		}
	}
	if o := p.Spec.Provider.Orka; o != nil {
		if access, err = secret(ctx, live, namespace, "provider", o.TokenSecretName, "token"); err != nil {
			return Place{}, err
		}
	}
	return places.Open(p, login, access)
}

// secret reads a Secret of the controller's namespace that a pool names.
func secret(ctx context.Context, live client.Reader, namespace, what, name, keys string) (*corev1.Secret, error) {
	s := &corev1.Secret{}
	key := client.ObjectKey{Namespace: namespace, Name: name}
	if err := live.Get(ctx, key, s); apierrors.IsNotFound(err) {
		return nil, fault.New(fault.Config, "%s: there is no Secret %s", what, key).WithRemedy("Make it, with the key %s.", keys)
	} else if err != nil {
		return nil, err
	}
	return s, nil
}

// poolOf returns the machine's pool; nil: it is gone, or going, and the machine goes with it. That it is gone is for
// good, and a cache that is behind looks the same: so the API server is asked.
func (k *keeper) poolOf(ctx context.Context, m *v1alpha1.Machine) (*v1alpha1.MachinePool, error) {
	p := k.view.pool(m.Spec.Pool)
	if p == nil {
		p = &v1alpha1.MachinePool{}
		if err := k.live.Get(ctx, client.ObjectKey{Name: m.Spec.Pool}, p); err != nil {
			return nil, client.IgnoreNotFound(err)
		}
	}
	if !p.DeletionTimestamp.IsZero() {
		return nil, nil
	}
	return p, nil
}

// begin lets a machine be created, unless there are more than may be: a
// controller that was paused and does not lead any more may have ordered some, from
// what it knew before. Each looks after its object is written and before
// the provider is asked, so of two that together are too many one sees the other.
func (k *keeper) begin(ctx context.Context, m *v1alpha1.Machine) (next, error) {
	all := metav1.PartialObjectMetadataList{}
	all.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind("MachineList"))
	var p v1alpha1.MachinePool
	err := k.live.Get(ctx, client.ObjectKey{Name: m.Spec.Pool}, &p)
	if apierrors.IsNotFound(err) {
		return k.enter(ctx, m, v1alpha1.MachineDeleting, "PoolDeleted", "")
	}
	if err != nil {
		return next{}, err
	}
	if err := k.live.List(ctx, &all, client.MatchingLabels{v1alpha1.LabelPool: m.Spec.Pool}); err != nil {
		return next{}, err
	}
	if len(all.Items) > int(p.Spec.Max) {
		return k.enter(ctx, m, v1alpha1.MachineDeleting, "AboveMax", fmt.Sprintf("there are %d machines, max is %d", len(all.Items), p.Spec.Max))
	}
	return k.enter(ctx, m, v1alpha1.MachineCreating, "Creating", "")
}

// create asks the provider for the machine. It may have been asked before, by this
// process or one that died: the name makes it the same machine.
func (k *keeper) create(ctx context.Context, m *v1alpha1.Machine) (next, error) {
	p, err := k.poolOf(ctx, m)
	if err != nil {
		return next{}, err
	}
	if p == nil {
		return k.enter(ctx, m, v1alpha1.MachineDeleting, "PoolDeleted", "")
	}
	if _, until, _ := k.stats.trouble(p); k.now().Before(until) {
		return next{after: jitter(until.Sub(k.now()))}, nil
	}
	if k.now().After(bootDeadline(p, m)) {
		return k.fail(ctx, m, string(fault.BootTimeout), "the provider did not make it in time")
	}
	place, err := k.place(ctx, p)
	if err != nil {
		return k.createFailed(ctx, p, m, err)
	}
	limit, cancel := context.WithDeadline(ctx, bootDeadline(p, m))
	defer cancel()
	made, err := place.Create(limit, machine.Spec{
		Name: machine.Name(m.Name), Owner: k.owner(p.Name), Image: m.Spec.Image,
		CPUs: int(p.Spec.CPUs), MemoryMiB: int(p.Spec.MemoryMiB),
		Labels: map[string]string{"by": "pool " + p.Name},
	})
	if ctx.Err() != nil {
		return next{}, ctx.Err() // this process ends; the next one asks again
	}
	if err != nil {
		return k.createFailed(ctx, p, m, err)
	}
	k.stats.created(p)
	k.herald.dirty(p.Name)
	err = k.setStatus(ctx, m, func(st *v1alpha1.MachineStatus) {
		st.Phase = v1alpha1.MachineBooting
		st.Address, st.Port, st.User, st.Root = made.Endpoint.Host, int32(made.Endpoint.Port), made.Endpoint.User, made.Endpoint.Root
		notReady(m, st, "Booting", "SSH does not answer yet")
	})
	return next{now: true}, err
}

// createFailed decides between another try of the same machine and giving it
// up: an answer that was lost may have left a machine, which the next try finds.
func (k *keeper) createFailed(ctx context.Context, p *v1alpha1.MachinePool, m *v1alpha1.Machine, err error) (next, error) {
	kind := kindOf(err)
	k.meters.createFailed(p.Name, string(kind))
	if kind == fault.UnknownImage && m.Annotations[v1alpha1.AnnotationMadeFor] != "" {
		return k.fail(ctx, m, string(kind), err.Error()) // one claim's mistake is nobody else's pause
	}
	if k.stats.failed(p, kind, err.Error(), k.Times) {
		k.Log.Warn("creation failed", "pool", p.Name, "machine", m.Name, "kind", kind, "error", err)
		k.event(p, warning, "CreateFailed", fmt.Sprintf("%s: machine %s: %v", kind, m.Name, err))
	}
	k.herald.dirty(p.Name)
	mayExist := fault.Lookup(kind).Retry && kind != fault.NoCapacity
	if mayExist && k.now().Before(bootDeadline(p, m)) {
		err := k.setStatus(ctx, m, func(st *v1alpha1.MachineStatus) { notReady(m, st, string(kind), err.Error()) })
		return next{now: true}, err
	}
	return k.fail(ctx, m, string(kind), err.Error())
}

// bootDeadline is when a machine that is not prepared is given up. The clock
// runs from its object on, so that a restart of ours does not begin anew; for a
// machine that was used and is made again, from its phase on.
func bootDeadline(p *v1alpha1.MachinePool, m *v1alpha1.Machine) time.Time {
	limit := 10 * time.Minute // the API's default
	if p.Spec.BootTimeout != nil && p.Spec.BootTimeout.Duration > 0 {
		limit = p.Spec.BootTimeout.Duration
	}
	if m.Status.Uses > 0 {
		return since(m).Add(limit)
	}
	return m.CreationTimestamp.Add(limit)
}

// fail gives a machine up.
func (c *core) fail(ctx context.Context, m *v1alpha1.Machine, reason, message string) (next, error) {
	n, err := c.enter(ctx, m, v1alpha1.MachineFailed, reason, message)
	if err == nil {
		c.stats.forget(m)
		c.Log.Warn("machine given up", "pool", m.Spec.Pool, "machine", m.Name, "reason", reason, "message", message)
		c.meters.failed(m.Spec.Pool, reason)
		c.event(m, warning, "MachineFailed", fmt.Sprintf("%s: %s", reason, message))
		if p := c.view.pool(m.Spec.Pool); p != nil {
			c.event(p, warning, "MachineFailed", fmt.Sprintf("Machine %s: %s: %s", m.Name, reason, message))
		}
	}
	return n, err
}
