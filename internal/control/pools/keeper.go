package pools

import (
	"context"
	"math/rand/v2"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"outrigger.dev/outrigger/api/v1alpha1"
	"outrigger.dev/outrigger/internal/sanitize"
)

// The keeper carries one machine through its phases.
type keeper struct{ *core }

func (c *core) setupKeeper(mgr ctrl.Manager) error {
	return ctrl.NewControllerManagedBy(mgr).Named("machine").
		For(&v1alpha1.Machine{}).
		Watches(&v1alpha1.MachineClaim{}, handler.EnqueueRequestsFromMapFunc(func(_ context.Context, o client.Object) []reconcile.Request {
			found, err := c.view.machines.GetIndexer().ByIndex(byClaim, string(o.GetUID()))
			if err != nil {
				return nil // only without the index, which newView makes
			}
			var all []reconcile.Request
			for _, obj := range found {
				all = append(all, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(obj.(*v1alpha1.Machine))})
			}
			return all
		})).
		WithOptions(controller.Options{MaxConcurrentReconciles: workers}).
		Complete(&keeper{c})
}

// A next says when to look at a machine again.
type next struct {
	after time.Duration // 0: when something happens
	now   bool          // at once: a step was taken
}

// Reconcile implements [reconcile.Reconciler]: it takes steps as long as there
// are any. Every step but the last one leaves a phase that says where it stood.
func (k *keeper) Reconcile(ctx context.Context, req reconcile.Request) (reconcile.Result, error) {
	for {
		m := k.view.machine(req.Name)
		if m == nil {
			k.stats.gone(req.Name)
			return reconcile.Result{}, nil
		}
		n, err := k.step(ctx, m)
		if err != nil {
			return again(err)
		}
		if !n.now {
			return reconcile.Result{RequeueAfter: n.after}, nil
		}
	}
}

// step takes the step that the machine's phase asks for.
func (k *keeper) step(ctx context.Context, m *v1alpha1.Machine) (next, error) {
	phase := phaseOf(m)
	if !m.DeletionTimestamp.IsZero() && phase != v1alpha1.MachineDeleting {
		return k.enter(ctx, m, v1alpha1.MachineDeleting, "Deleted", "its object was deleted")
	}
	switch phase {
	case v1alpha1.MachinePending:
		return k.begin(ctx, m)
	case v1alpha1.MachineCreating:
		return k.create(ctx, m)
	case v1alpha1.MachineBooting:
		return k.await(ctx, m)
	case v1alpha1.MachinePreparing:
		return k.prepare(ctx, m)
	case v1alpha1.MachineIdle:
		return k.idle(ctx, m)
	case v1alpha1.MachineLeased:
		return k.leased(ctx, m)
	case v1alpha1.MachineReleasing:
		return k.release(ctx, m)
	case v1alpha1.MachineFailed:
		return k.failed(ctx, m)
	}
	return k.delete(ctx, m)
}

// enter writes the next phase, if the machine is as we saw it.
func (c *core) enter(ctx context.Context, m *v1alpha1.Machine, phase v1alpha1.MachinePhase, reason, message string) (next, error) {
	err := c.setStatus(ctx, m, func(st *v1alpha1.MachineStatus) {
		st.Phase = phase
		notReady(m, st, reason, message)
	})
	return next{now: true}, err
}

// setStatus writes a machine's status, if the machine is as we saw it.
func (c *core) setStatus(ctx context.Context, m *v1alpha1.Machine, change func(*v1alpha1.MachineStatus)) error {
	m = m.DeepCopy()
	before := m.Status.Phase
	change(&m.Status)
	if m.Status.Phase != before {
		m.Status.PhaseSince = c.stamp()
	}
	if err := c.client.Status().Update(ctx, m); err != nil {
		return err
	}
	c.view.wroteMachines.wrote(m)
	if m.Status.Phase != before {
		c.Log.Debug("machine", "pool", m.Spec.Pool, "machine", m.Name, "phase", m.Status.Phase)
	}
	return nil
}

func notReady(m *v1alpha1.Machine, st *v1alpha1.MachineStatus, reason, message string) {
	condition(m, st, v1alpha1.MachineReady, false, reason, message)
}

func condition(m *v1alpha1.Machine, st *v1alpha1.MachineStatus, kind string, ok bool, reason, message string) {
	meta.SetStatusCondition(&st.Conditions, metav1.Condition{
		Type: kind, Status: status(ok), ObservedGeneration: m.Generation, Reason: reason, Message: clip(message),
	})
}

func status(ok bool) metav1.ConditionStatus {
	if ok {
		return metav1.ConditionTrue
	}
	return metav1.ConditionFalse
}

// clip keeps a message within what a condition may hold, and within what is read. A part of it may be the words of
// a provider or a machine.
func clip(message string) string {
	const most = 2000
	return sanitize.Text(message, most)
}

// jitter spreads what would happen at the same moment: d to 1.2 d. What is overdue is due now.
func jitter(d time.Duration) time.Duration {
	d = max(0, d)
	return d + rand.N(d/5+1)
}
