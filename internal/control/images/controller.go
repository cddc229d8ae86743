package images

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/events"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"outrigger.dev/outrigger/api/v1alpha1"
	"outrigger.dev/outrigger/internal/control/pools"
	"outrigger.dev/outrigger/internal/handoff"
	"outrigger.dev/outrigger/internal/imagebuild"
)

// A Maker works on the machine that becomes an image, over SSH.
type Maker interface {
	// Reopen takes back what an image must not have and takes the login's password to take back: before the recipe, which
	// could read that later.
	Reopen(ctx context.Context, c handoff.Claim, w pools.Work) error
	// Provision carries out the recipe. What files and script say goes to out. A script that
	// fails is a fault with an [imagebuild.ScriptError] in it.
	Provision(ctx context.Context, c handoff.Claim, r imagebuild.Recipe, out io.Writer) error
	// Unmake takes back what preparing has put on the machine and an image of it must not have; it
	// is entered as it was the first time from then on.
	Unmake(ctx context.Context, c handoff.Claim, w pools.Work) error
}

// Options are what the controller is given.
type Options struct {
	Namespace string // of the controller's own objects: claims of builds, and what images are made from
	Places    pools.Places
	Maker     Maker
	Log       *slog.Logger
	Times     Times
	// Renew is as in [pools.Options].
	Renew func(handoff.Claim) (handoff.Claim, error)
	Now   func() time.Time // nil: time.Now
}

// Times are limits and intervals; those that are zero get their defaults.
type Times struct {
	Look      time.Duration // between looks whether an image that was built is still there: 5m
	Inputs    time.Duration // between looks at Secrets: 1m
	Retry     time.Duration // from the first failed build to the next, doubled for each further one: 5m
	RetryMost time.Duration // 6h
	Tell      time.Duration // between writes of what a build prints: 10s
	Collect   time.Duration // between tries to delete a former image that is in use: 1m
}

// Defaults fills in what is not said.
func (t Times) Defaults() Times {
	for _, f := range []struct {
		field *time.Duration
		value time.Duration
	}{
		{&t.Look, 5 * time.Minute},
		{&t.Inputs, time.Minute},
		{&t.Retry, 5 * time.Minute},
		{&t.RetryMost, 6 * time.Hour},
		{&t.Tell, 10 * time.Second},
		{&t.Collect, time.Minute},
	} {
		if *f.field == 0 {
			*f.field = f.value
		}
	}
	return t
}

const (
	// workers is how many images are built at a time. Each build is one worker's for as long as it takes.
	workers = 64
	// soon is the pause after somebody else wrote first.
	soon = 20 * time.Millisecond
	// retryMost is the longest pause between tries after errors of the API server.
	retryMost = 30 * time.Second
)

// now is the time, by the clock that the controller was given.
func (r *reconciler) now() time.Time {
	if r.Now != nil {
		return r.Now()
	}
	return time.Now()
}

// Caches are what the manager's cache is to hold of the objects that only this package watches.
func Caches(namespace string) map[client.Object]cache.ByObject {
	return map[client.Object]cache.ByObject{&corev1.ConfigMap{}: {Namespaces: map[string]cache.Config{namespace: {}}}}
}

// Setup adds the reconciler to mgr, whose cache has the [Caches].
func Setup(mgr ctrl.Manager, o Options) error {
	o.Times = o.Times.Defaults()
	r := &reconciler{
		Options: o, client: mgr.GetClient(), live: mgr.GetAPIReader(), events: mgr.GetEventRecorder("outrigger"),
		meters: newMeters(), pokes: map[string]chan struct{}{},
	}
	configMap := &metav1.PartialObjectMetadata{} // what is in it is read when it is needed
	configMap.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("ConfigMap"))
	return ctrl.NewControllerManagedBy(mgr).Named("image").
		Watches(&v1alpha1.MachineImage{}, r.wakes(func(o client.Object, i *v1alpha1.MachineImage) bool {
			return o.GetName() == i.Name || i.Spec.Base == o.(*v1alpha1.MachineImage).Status.Image
		})).
		Watches(&v1alpha1.MachineClaim{}, r.wakes(func(o client.Object, i *v1alpha1.MachineImage) bool {
			return o.GetNamespace() == r.Namespace && o.GetName() == claimName(i.Name)
		})).
		Watches(&v1alpha1.Machine{}, r.wakes(func(o client.Object, i *v1alpha1.MachineImage) bool {
			return i.Status.Build != nil && i.Status.Build.Machine == o.GetName()
		})).
		Watches(&v1alpha1.MachinePool{}, r.wakes(func(o client.Object, i *v1alpha1.MachineImage) bool {
			from := o.(*v1alpha1.MachinePool).Spec.ImageFrom
			return o.GetName() == i.Spec.Pool || !i.DeletionTimestamp.IsZero() && from != nil && from.Name == i.Name
		})).
		WatchesMetadata(configMap, r.wakes(func(o client.Object, i *v1alpha1.MachineImage) bool {
			return o.GetNamespace() == r.Namespace && reads(i, o.GetName())
		})).
		WithOptions(controller.Options{
			MaxConcurrentReconciles: workers,
			RateLimiter:             workqueue.NewTypedItemExponentialFailureRateLimiter[reconcile.Request](5*time.Millisecond, retryMost),
		}).
		Complete(r)
}

// A reconciler looks at one image after anything of it has changed.
type reconciler struct {
	Options
	client client.Client // cached reads
	live   client.Reader
	events events.EventRecorder
	meters *meters

	mu    sync.Mutex
	pokes map[string]chan struct{} // of the images that are being built by this process
}

// wakes returns a handler for events of other objects that wakes up the images that they concern: their
// reconciler, and the build that it may be busy with.
func (r *reconciler) wakes(concerns func(client.Object, *v1alpha1.MachineImage) bool) handler.EventHandler {
	return handler.EnqueueRequestsFromMapFunc(func(ctx context.Context, o client.Object) []reconcile.Request {
		var all v1alpha1.MachineImageList
		if err := r.client.List(ctx, &all); err != nil {
			r.Log.Warn("images of an event", "object", o.GetName(), "error", err)
			return nil
		}
		var out []reconcile.Request
		for n := range all.Items {
			if i := &all.Items[n]; concerns(o, i) {
				r.poke(i.Name)
				out = append(out, reconcile.Request{NamespacedName: client.ObjectKey{Name: i.Name}})
			}
		}
		if i, ok := o.(*v1alpha1.MachineImage); ok && len(out) == 0 { // gone, or not in the cache yet
			r.poke(i.Name)
			out = append(out, reconcile.Request{NamespacedName: client.ObjectKey{Name: i.Name}})
		}
		return out
	})
}

// poke tells the build of an image that something has changed.
func (r *reconciler) poke(image string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if c := r.pokes[image]; c != nil {
		select {
		case c <- struct{}{}:
		default: // it will look anyway
		}
	}
}

// Reconcile implements [reconcile.Reconciler]. It reads from the API server itself: what one
// decides from old news here costs a machine, or an hour's work.
func (r *reconciler) Reconcile(ctx context.Context, req reconcile.Request) (reconcile.Result, error) {
	for {
		l, err := r.look(ctx, req.Name)
		if err != nil {
			return r.again(ctx, err)
		}
		if l.image == nil {
			r.meters.forget(req.Name)
			return reconcile.Result{}, nil
		}
		n, err := r.step(ctx, l)
		switch {
		case err != nil:
			return r.again(ctx, err)
		case !n.now:
			return reconcile.Result{RequeueAfter: n.after}, nil
		}
	}
}

// again decides when to look again after an error of the API server.
func (r *reconciler) again(ctx context.Context, err error) (reconcile.Result, error) {
	switch {
	case ctx.Err() != nil:
		return reconcile.Result{}, nil // this process ends; the next one goes on
	case apierrors.IsConflict(err), apierrors.IsNotFound(err), apierrors.IsAlreadyExists(err), errors.Is(err, errSuperseded):
		return reconcile.Result{RequeueAfter: soon}, nil // somebody else wrote first; that is no error
	}
	return reconcile.Result{}, err
}
