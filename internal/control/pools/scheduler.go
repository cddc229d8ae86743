package pools

import (
	"context"
	"errors"
	"time"

	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"outrigger.dev/outrigger/api/v1alpha1"
	"outrigger.dev/outrigger/internal/pool"
)

// The scheduler looks at one pool after anything of it has changed.
type scheduler struct{ *core }

// pools is how many pools are looked at at a time, and writes how many writes each makes at
// a time.
const (
	pools  = 8
	writes = 16
)

func (c *core) setupScheduler(mgr ctrl.Manager) error {
	toPool := func(name string) []reconcile.Request {
		return []reconcile.Request{{NamespacedName: client.ObjectKey{Name: name}}}
	}
	return ctrl.NewControllerManagedBy(mgr).Named("pool").
		For(&v1alpha1.MachinePool{}).
		Watches(&v1alpha1.Machine{}, handler.EnqueueRequestsFromMapFunc(func(_ context.Context, o client.Object) []reconcile.Request {
			return toPool(o.(*v1alpha1.Machine).Spec.Pool)
		})).
		Watches(&v1alpha1.MachineClaim{}, handler.EnqueueRequestsFromMapFunc(func(_ context.Context, o client.Object) []reconcile.Request {
			return toPool(o.(*v1alpha1.MachineClaim).Spec.Pool)
		})).
		Watches(&v1alpha1.MachineImage{}, handler.EnqueueRequestsFromMapFunc(func(_ context.Context, o client.Object) []reconcile.Request {
			var all []reconcile.Request
			for _, name := range c.view.poolsFrom(o.GetName()) {
				all = append(all, toPool(name)...)
			}
			return all
		})).
		WithOptions(controller.Options{MaxConcurrentReconciles: pools}).
		Complete(&scheduler{c})
}

// Reconcile implements [reconcile.Reconciler].
func (s *scheduler) Reconcile(ctx context.Context, req reconcile.Request) (reconcile.Result, error) {
	if err := s.view.catchUp(ctx, s.live); err != nil {
		return reconcile.Result{}, err
	}
	p := s.view.pool(req.Name)
	if p == nil {
		s.herald.noPool(req.Name, s.view.claimsOf(req.Name))
		return reconcile.Result{}, nil
	}
	if p.DeletionTimestamp.IsZero() && !controllerutil.ContainsFinalizer(p, v1alpha1.FinalizerPool) {
		p = p.DeepCopy()
		controllerutil.AddFinalizer(p, v1alpha1.FinalizerPool)
		return again(s.client.Update(ctx, p)) // the answer wakes us up
	}
	machines, ahead := s.view.machinesOf(p.Name)
	allowed, err := s.allow(ctx, p, s.view.claimsOf(p.Name))
	if err != nil {
		return again(err)
	}
	snapshot, claims := s.snapshot(p, machines, allowed)
	if !p.DeletionTimestamp.IsZero() && len(machines) == 0 {
		return s.closed(ctx, p)
	}
	d := pool.Plan(snapshot)
	s.herald.tell(p, snapshot, claims, d)
	if err := s.carryOut(ctx, p, claims, machines, d); err != nil {
		return again(err)
	}
	var wait time.Duration
	if !d.Next.IsZero() {
		wait = max(time.Millisecond, d.Next.Sub(s.now()))
	}
	if ahead && (wait == 0 || wait > time.Second) {
		wait = time.Second
	}
	return reconcile.Result{RequeueAfter: wait}, nil
}

// again asks to look again soon when somebody else wrote first, or a machine was not what it seemed; that is no error.
func again(err error) (reconcile.Result, error) {
	if errors.Is(err, errIll) || apierrors.IsConflict(err) || apierrors.IsAlreadyExists(err) || apierrors.IsNotFound(err) {
		return reconcile.Result{RequeueAfter: 20 * time.Millisecond}, nil
	}
	return reconcile.Result{}, err
}

// carryOut does what was decided: binds first, for these somebody waits for.
func (s *scheduler) carryOut(ctx context.Context, p *v1alpha1.MachinePool, claims []*v1alpha1.MachineClaim, machines []*v1alpha1.Machine, d pool.Decision) error {
	byName := make(map[string]*v1alpha1.Machine, len(machines))
	for _, m := range machines {
		byName[m.Name] = m
	}
	var binds, rest errgroup.Group
	binds.SetLimit(writes)
	for _, b := range d.Bind {
		binds.Go(func() error { return s.bind(ctx, p, byName[b.Machine], claims[b.Claim]) })
	}
	err := binds.Wait()
	if e := s.mend(ctx, machines); err == nil {
		err = e
	}
	rest.SetLimit(writes)
	for _, x := range d.Delete {
		rest.Go(func() error { return s.discard(ctx, byName[x.Machine], x.Why) })
	}
	for _, x := range d.Create {
		rest.Go(func() error { return s.order(ctx, p, x) })
	}
	if e := rest.Wait(); err == nil {
		err = e
	}
	return err
}

// closed lets a pool go that has no machines any more.
func (s *scheduler) closed(ctx context.Context, p *v1alpha1.MachinePool) (reconcile.Result, error) {
	if !controllerutil.ContainsFinalizer(p, v1alpha1.FinalizerPool) {
		return reconcile.Result{}, nil
	}
	// What an answer that was lost has left must go while there is still
	// somebody who knows the provider.
	switch left, err := s.left(ctx, p); {
	case err != nil:
		return reconcile.Result{}, err
	case left:
		return reconcile.Result{RequeueAfter: s.Times.Backoff}, nil
	}
	if err := (&survey{s.core}).last(ctx, p); err != nil {
		s.herald.dirty(p.Name)
		s.Log.Warn("the last look at a pool's provider", "pool", p.Name, "error", err)
		return reconcile.Result{RequeueAfter: s.Times.Backoff}, nil
	}
	p = p.DeepCopy()
	controllerutil.RemoveFinalizer(p, v1alpha1.FinalizerPool)
	return again(client.IgnoreNotFound(s.client.Update(ctx, p)))
}

// left tells whether a pool has machines that the cache does not show: once the pool is gone nobody could delete them.
func (s *scheduler) left(ctx context.Context, p *v1alpha1.MachinePool) (bool, error) {
	all := metav1.PartialObjectMetadataList{}
	all.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind("MachineList"))
	err := s.live.List(ctx, &all, client.MatchingLabels{v1alpha1.LabelPool: p.Name})
	return len(all.Items) > 0, err
}
