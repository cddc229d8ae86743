package pools

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"outrigger.dev/outrigger/api/v1alpha1"
	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/handoff"
	"outrigger.dev/outrigger/internal/machine"
)

// knock is the pause between two tries to reach a machine that boots: short at first, then an eighth of how long it
// has been booting, so that many that boot slowly do not keep the provider busy.
func (k *keeper) knock(m *v1alpha1.Machine) time.Duration {
	return min(15*time.Second, max(time.Second, k.now().Sub(since(m))/8))
}

// await waits until the machine's SSH server greets.
func (k *keeper) await(ctx context.Context, m *v1alpha1.Machine) (next, error) {
	p, w, n, err := k.find(ctx, m)
	if p == nil {
		return n, err
	}
	made := w.Machine
	limit, cancel := context.WithTimeout(ctx, k.Times.Call)
	defer cancel()
	if err := k.Readier.Answers(limit, made.Endpoint); err != nil {
		if k.now().After(bootDeadline(p, m)) && k.held(p) == "" {
			return k.fail(ctx, m, string(fault.BootTimeout), fmt.Sprintf("SSH did not answer within %s of the order: %v", bootDeadline(p, m).Sub(m.CreationTimestamp.Time), err))
		}
		return next{after: k.knock(m)}, nil
	}
	err = k.setStatus(ctx, m, func(st *v1alpha1.MachineStatus) {
		st.Phase = v1alpha1.MachinePreparing
		st.Address, st.Port, st.User = made.Endpoint.Host, int32(made.Endpoint.Port), made.Endpoint.User
		condition(m, st, v1alpha1.MachineReachable, true, "Answers", "")
		notReady(m, st, "Preparing", "")
	})
	return next{now: true}, err
}

// find asks the provider for a machine that is to be prepared. Without a pool, the
// machine is not to be prepared, and next and the error say what then.
func (k *keeper) find(ctx context.Context, m *v1alpha1.Machine) (*v1alpha1.MachinePool, Work, next, error) {
	p, err := k.poolOf(ctx, m)
	if err != nil {
		return nil, Work{}, next{}, err
	}
	if p == nil {
		n, err := k.enter(ctx, m, v1alpha1.MachineDeleting, "PoolDeleted", "")
		return nil, Work{}, n, err
	}
	late := k.now().After(bootDeadline(p, m)) && k.held(p) == ""
	place, err := k.place(ctx, p)
	var made machine.Machine
	if err == nil {
		limit, cancel := context.WithTimeout(ctx, k.Times.Call)
		defer cancel()
		remind(place, m)
		made, err = place.Get(limit, machine.Name(m.Name))
	}
	ended := made.State == machine.Failed || made.State == machine.Stopped
	if err == nil && ended {
		err = fault.New(fault.MachineLost, "the provider says that it is %s", made.State)
	}
	switch {
	case (ended || fault.Is(err, fault.UnknownMachine)) && !k.again(m, err), err != nil && late:
		n, e := k.fail(ctx, m, string(fault.Of(err)), err.Error())
		return nil, Work{}, n, e
	case err != nil:
		k.Log.Debug("provider asked", "machine", m.Name, "error", err)
		return nil, Work{}, next{after: jitter(k.Times.Backoff)}, nil
	}
	if e := k.stats.starting.get(m.UID); e.kind == fault.UnknownMachine || e.kind == fault.MachineLost {
		k.stats.starting.forget(m.UID) // the provider has found it
	}
	if place.Adopt != nil {
		made.Endpoint = place.Adopt(made.Endpoint)
	}
	if len(made.Endpoint.HostKeys) == 0 {
		made.Endpoint.HostKeys = m.Status.HostKeys
	}
	w, err := k.work(ctx, p, place, made)
	if err != nil && !fault.Is(err, fault.Config) {
		return nil, Work{}, next{}, err // the API server's
	}
	if err != nil {
		if late {
			n, e := k.fail(ctx, m, string(fault.Of(err)), err.Error())
			return nil, Work{}, n, e
		}
		// A Secret that is to be made: its absence is told, and looked at again.
		return nil, Work{}, next{after: jitter(k.Times.Backoff)}, k.setStatus(ctx, m, func(st *v1alpha1.MachineStatus) {
			notReady(m, st, string(fault.Of(err)), err.Error())
		})
	}
	return p, w, next{}, nil
}

// prepare makes the machine ready for claims. Until the phase is written it may
// be done again: preparing twice is preparing once.
func (k *keeper) prepare(ctx context.Context, m *v1alpha1.Machine) (next, error) {
	p, w, n, err := k.find(ctx, m)
	if p == nil {
		return n, err
	}
	// While the pool looks ill the deadline may be past, and the machine is waited for.
	deadline := bootDeadline(p, m)
	if least := k.now().Add(k.Times.Call); deadline.Before(least) {
		deadline = least
	}
	limit, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	done, err := k.Readier.Prepare(limit, w)
	if ctx.Err() != nil {
		return next{}, ctx.Err()
	}
	if err != nil {
		m = m.DeepCopy() // what was found is written with what becomes of the machine
		found(m, &m.Status, done.Conditions)
		late := !k.now().Before(bootDeadline(p, m)) && k.held(p) == ""
		if !late && (fault.Lookup(fault.Of(err)).Retry || limit.Err() != nil || k.again(m, err)) {
			k.Log.Info("preparing is tried again", "machine", m.Name, "error", err)
			return next{after: jitter(k.Times.Backoff)}, k.setStatus(ctx, m, func(st *v1alpha1.MachineStatus) {
				notReady(m, st, string(fault.Of(err)), err.Error())
			})
		}
		k.stats.failed(p, fault.Of(err), fmt.Sprintf("machine %s: %v", m.Name, err), k.Times)
		k.herald.dirty(p.Name)
		return k.fail(ctx, m, string(fault.Of(err)), err.Error())
	}
	if err := k.keepLogin(ctx, m, done.Claim); err != nil {
		return next{}, err
	}
	now := metav1.NewTime(k.now())
	first := m.Status.PreparedAt == nil
	err = k.setStatus(ctx, m, func(st *v1alpha1.MachineStatus) {
		st.Phase = v1alpha1.MachineIdle
		st.HostKeys, st.Root, st.Session = done.Claim.Endpoint.HostKeys, done.Claim.Endpoint.Root, done.Session
		st.User = done.Claim.Endpoint.User // a slot's own, where there is one
		if first {
			st.PreparedAt = &now
		}
		found(m, st, done.Conditions)
		condition(m, st, v1alpha1.MachineReady, true, "Prepared", "")
	})
	if err != nil {
		return next{}, err
	}
	k.stats.starting.forget(m.UID)
	took := now.Sub(m.CreationTimestamp.Time)
	if first {
		k.stats.started(p, took)
		k.meters.started(p.Name, took)
	}
	k.event(p, normal, "MachineReady", fmt.Sprintf("Machine %s is ready after %s", m.Name, took.Round(100*time.Millisecond)))
	return next{now: true}, nil
}

// found puts what preparing has found into conditions.
func found(m *v1alpha1.Machine, st *v1alpha1.MachineStatus, all []Finding) {
	for _, f := range all {
		condition(m, st, f.Type, f.OK, f.Reason, f.Message)
	}
}

// LoginSecret is the name of the Secret in the controller's namespace with which a machine is
// reached.
func LoginSecret(machine string) string { return handoff.LoginSecret(machine) }

func (c *core) loginName(m *v1alpha1.Machine) client.ObjectKey {
	return client.ObjectKey{Namespace: c.Namespace, Name: LoginSecret(m.Name)}
}

// keepLogin stores how the machine is reached, before anything relies on it.
func (c *core) keepLogin(ctx context.Context, m *v1alpha1.Machine, login handoff.Claim) error {
	data, err := json.Marshal(login)
	if err != nil {
		return fault.New(fault.Internal, "login of machine %s: %w", m.Name, err)
	}
	name := c.loginName(m)
	s := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: name.Namespace, Name: name.Name}}
	fill := func() error {
		s.Labels = map[string]string{v1alpha1.LabelMachine: m.Name, v1alpha1.LabelPool: m.Spec.Pool}
		s.Data = map[string][]byte{handoff.SecretKey: data}
		return controllerutil.SetControllerReference(m, s, c.scheme)
	}
	if err := fill(); err != nil {
		return err
	}
	if err := c.client.Create(ctx, s); !apierrors.IsAlreadyExists(err) {
		return err
	}
	if err := c.live.Get(ctx, name, s); err != nil {
		return err
	}
	if err := fill(); err != nil {
		return err
	}
	return c.client.Update(ctx, s)
}

// login reads what keepLogin stored.
func (c *core) login(ctx context.Context, m *v1alpha1.Machine) (handoff.Claim, error) {
	var s corev1.Secret
	if err := c.live.Get(ctx, c.loginName(m), &s); err != nil {
		return handoff.Claim{}, err
	}
	claim, err := handoff.ParseClaim(s.Data[handoff.SecretKey])
	if err == nil && c.Renew != nil {
		return c.Renew(claim)
	}
	return claim, err
}
