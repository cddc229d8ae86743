package pods

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/tools/events"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"outrigger.dev/outrigger/api/v1alpha1"
	"outrigger.dev/outrigger/internal/handoff"
)

// Options are what the controller is given.
type Options struct {
	Namespace string // of the controller's own objects: where the machines' logins are
	Log       *slog.Logger
	// Renew is as in [pools.Options].
	Renew func(handoff.Claim) (handoff.Claim, error)
	Now   func() time.Time // nil: time.Now
}

const (
	byClaim = "outrigger.dev/claim" // index of Pods by the claim that they name
	byPool  = "outrigger.dev/pool"  // index of claims by their pool
	// workers is how many claims are worked on at a time. A hand-over is three writes one after another,
	// and a burst of Pods should not wait for that of another.
	workers = 32
	// retryMost is the longest pause between tries after errors of the API server.
	retryMost = 30 * time.Second
	// soon is the pause after somebody else wrote first.
	soon = 20 * time.Millisecond
	// patience is the pause after the API server refused what another day may allow, such as a quota.
	patience = 15 * time.Second
	// hiddenEvery is between two looks at a Pod of which no event tells.
	hiddenEvery = time.Minute
	// runEvery is between two looks at a PipelineRun. Its last Task gives the machine back as a rule; what
	// is seen here is the end of one that was cancelled.
	runEvery = 15 * time.Second
)

// Setup adds the reconciler to mgr.
func Setup(ctx context.Context, mgr ctrl.Manager, o Options) error {
	err := mgr.GetFieldIndexer().IndexField(ctx, &corev1.Pod{}, byClaim, func(o client.Object) []string {
		if name := o.GetLabels()[v1alpha1.LabelClaim]; name != "" {
			return []string{name}
		}
		return nil
	})
	if err != nil {
		return err
	}
	err = mgr.GetFieldIndexer().IndexField(ctx, &v1alpha1.MachineClaim{}, byPool, func(o client.Object) []string {
		return []string{o.(*v1alpha1.MachineClaim).Spec.Pool}
	})
	if err != nil {
		return err
	}
	r := &reconciler{o, mgr.GetClient(), mgr.GetAPIReader(), mgr.GetEventRecorder("outrigger")}
	return ctrl.NewControllerManagedBy(mgr).Named("pod").
		For(&v1alpha1.MachineClaim{}).
		Watches(&corev1.Pod{}, handler.EnqueueRequestsFromMapFunc(func(_ context.Context, o client.Object) []reconcile.Request {
			name := o.GetLabels()[v1alpha1.LabelClaim]
			if name == "" {
				return nil
			}
			return []reconcile.Request{{NamespacedName: client.ObjectKey{Namespace: o.GetNamespace(), Name: name}}}
		})).
		WithOptions(controller.Options{
			MaxConcurrentReconciles: workers,
			RateLimiter:             workqueue.NewTypedItemExponentialFailureRateLimiter[reconcile.Request](5*time.Millisecond, retryMost),
		}).
		Complete(r)
}

// A reconciler looks at one claim, or at a Pod that has none yet, after anything of them changed.
type reconciler struct {
	Options
	client client.Client // cached reads
	live   client.Reader
	events events.EventRecorder
}

// Reconcile implements [reconcile.Reconciler].
func (r *reconciler) Reconcile(ctx context.Context, req reconcile.Request) (reconcile.Result, error) {
	l, err := r.look(ctx, req.NamespacedName)
	if err != nil {
		return r.again(ctx, l, err)
	}
	var next time.Time
	for _, s := range l.seats {
		again, err := r.settle(ctx, l, s)
		if err != nil {
			return r.again(ctx, l, err)
		}
		switch {
		case s.run != nil && l.claim != nil && l.claim.Status.Phase != v1alpha1.ClaimReleased:
			again = earlier(again, r.now().Add(runEvery))
		case s.hidden && s.pod != nil:
			again = earlier(again, r.now().Add(hiddenEvery))
		}
		next = earlier(next, again)
	}
	if next.IsZero() {
		return reconcile.Result{}, nil
	}
	return reconcile.Result{RequeueAfter: max(time.Millisecond, next.Sub(r.now()))}, nil
}

// now is the time, by the clock that the controller was given.
func (r *reconciler) now() time.Time {
	if r.Now != nil {
		return r.Now()
	}
	return time.Now()
}

func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// settle takes steps for one Pod as long as there are any, and says when to look again.
func (r *reconciler) settle(ctx context.Context, l *look, s *seat) (time.Time, error) {
	for {
		snapshot, err := r.snapshot(ctx, l, s)
		if err != nil {
			return time.Time{}, err
		}
		step := Decide(snapshot)
		if step.Do == Nothing {
			return step.Again, nil
		}
		if err := r.do(ctx, l, s, step); err != nil {
			return time.Time{}, err
		}
	}
}

// again decides when to look again after an error.
func (r *reconciler) again(ctx context.Context, l *look, err error) (reconcile.Result, error) {
	switch {
	case ctx.Err() != nil:
		return reconcile.Result{}, nil // this process ends; the next one goes on
	case apierrors.IsConflict(err), apierrors.IsNotFound(err), apierrors.IsAlreadyExists(err):
		return reconcile.Result{RequeueAfter: soon}, nil // somebody else wrote first; that is no error
	case apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause):
		return reconcile.Result{}, nil // its Pods will go, and each of them wakes us up
	case apierrors.IsForbidden(err):
		r.Log.Warn("refused by the API server, tried again later", "claim", l.ObjectKey, "error", err)
		return reconcile.Result{RequeueAfter: patience + rand.N(patience/5)}, nil
	}
	return reconcile.Result{}, err
}
