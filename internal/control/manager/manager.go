// Package manager puts the controller together: caches, leader election, the
// reconcilers, metrics and health. It decides nothing.
package manager

import (
	"context"
	"log/slog"
	"maps"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/selection"
	clientscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/config"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"outrigger.dev/outrigger/api/v1alpha1"
	"outrigger.dev/outrigger/internal/admit/webhook"
	"outrigger.dev/outrigger/internal/control/images"
	"outrigger.dev/outrigger/internal/control/pods"
	"outrigger.dev/outrigger/internal/control/pools"
	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/handoff"
	"outrigger.dev/outrigger/internal/machine"
)

// Options say how the controller runs.
type Options struct {
	Namespace      string // of its own objects: leases, Secrets of machines
	ClusterID      string // "": the first 8 characters of the UID of the namespace kube-system
	MetricsAddress string // "0": none
	ProbeAddress   string // "0": none
	LeaderElect    bool
	Lease          Lease
	Webhook        *webhook.Webhook // nil: this controller does not answer the API server
	Places         pools.Places
	LeasesWith     func(machine.Secret) // hears what the keys of slots are derived from; may be nil
	Readier        pools.Readier
	Maker          images.Maker                               // nil: MachineImages are not built
	Renew          func(handoff.Claim) (handoff.Claim, error) // see [pools.Options]
	Times          pools.Times
	ImageTimes     images.Times
	Log            *slog.Logger
	Now            func() time.Time // nil: time.Now
}

// A Lease says how fast another controller takes over; zero fields get client-go's defaults.
type Lease struct{ Duration, Renew, Retry time.Duration }

// electionID names the Lease by which controllers elect one of them.
const electionID = "outrigger-controller"

// New makes the manager; its Start runs until the context ends or leadership is lost.
func New(ctx context.Context, rc *rest.Config, o Options) (ctrl.Manager, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	rc = rest.CopyConfig(rc)
	// The API server shares itself out (priority and fairness); a limit of our own only adds waits.
	rc.QPS = -1
	options, err := options(o, libraries(o.Log))
	if err != nil {
		return nil, err
	}
	mgr, err := ctrl.NewManager(rc, options)
	if err != nil {
		return nil, fault.New(fault.Config, "controller: %w", err)
	}
	if o.ClusterID == "" {
		var system corev1.Namespace
		if err := mgr.GetAPIReader().Get(ctx, client.ObjectKey{Name: metav1.NamespaceSystem}, &system); err != nil {
			return nil, fault.New(fault.Unreachable, "controller: namespace %s, whose UID names the cluster: %w", metav1.NamespaceSystem, err).
				WithRemedy("Check the connection to the API server, or give --cluster-id.")
		}
		o.ClusterID = string(system.UID)[:8]
	}
	if o.LeasesWith != nil {
		secret, err := leaseSecret(ctx, mgr.GetAPIReader(), mgr.GetClient(), o.Namespace)
		if err != nil {
			return nil, err
		}
		o.LeasesWith(secret)
	}
	err = pools.Setup(ctx, mgr, pools.Options{
		Namespace: o.Namespace, Owner: "k8s-" + o.ClusterID,
		Places: o.Places, Readier: o.Readier, Renew: o.Renew, Log: o.Log, Times: o.Times, Now: o.Now,
	})
	if err != nil {
		return nil, err
	}
	if err := pods.Setup(ctx, mgr, pods.Options{Namespace: o.Namespace, Log: o.Log, Renew: o.Renew, Now: o.Now}); err != nil {
		return nil, err
	}
	if o.Maker != nil {
		err := images.Setup(mgr, images.Options{
			Namespace: o.Namespace, Places: o.Places, Maker: o.Maker, Log: o.Log, Times: o.ImageTimes, Renew: o.Renew, Now: o.Now,
		})
		if err != nil {
			return nil, err
		}
	}
	if err := mgr.AddHealthzCheck("ping", healthz.Ping); err != nil {
		return nil, err
	}
	if o.Webhook == nil {
		return mgr, mgr.AddReadyzCheck("ping", healthz.Ping)
	}
	if err := o.Webhook.Setup(ctx, mgr); err != nil {
		return nil, err
	}
	return mgr, mgr.AddReadyzCheck("webhook", o.Webhook.Ready)
}

// libraries is the logger for what is not ours.
func libraries(log *slog.Logger) logr.Logger { return logr.FromSlogHandler(quiet{log.Handler()}) }

// Scheme knows Kubernetes' own types and ours.
func Scheme() (*runtime.Scheme, error) {
	scheme := runtime.NewScheme()
	if err := clientscheme.AddToScheme(scheme); err != nil {
		return nil, err
	}
	return scheme, v1alpha1.AddToScheme(scheme)
}

func options(o Options, logger logr.Logger) (ctrl.Options, error) {
	scheme, err := Scheme()
	if err != nil {
		return ctrl.Options{}, err
	}
	ours, err := labels.NewRequirement(v1alpha1.LabelClaim, selection.Exists, nil)
	if err != nil {
		return ctrl.Options{}, err
	}
	// Of a cluster's Pods only the few that want machines are kept in memory.
	seen := map[client.Object]cache.ByObject{&corev1.Pod{}: {Label: labels.NewSelector().Add(*ours)}}
	maps.Copy(seen, images.Caches(o.Namespace))
	options := ctrl.Options{
		Scheme: scheme, Logger: logger,
		Controller: config.Controller{
			SkipNameValidation: new(true), // tests run several in a process
			// It may deadlock when it is shut down, until the grace period is over, and that
			// long nobody leads: controller-runtime #3538, mended after v0.24.
			UsePriorityQueue: new(false),
		},
		Cache: cache.Options{
			DefaultTransform: cache.TransformStripManagedFields(),
			ByObject:         seen,
		},
		// Secrets are read when they are needed, not watched: we may not see all.
		Client:                        client.Options{Cache: &client.CacheOptions{DisableFor: []client.Object{&corev1.Secret{}}}},
		Metrics:                       server.Options{BindAddress: o.MetricsAddress},
		HealthProbeBindAddress:        o.ProbeAddress,
		LeaderElection:                o.LeaderElect,
		LeaderElectionID:              electionID,
		LeaderElectionNamespace:       o.Namespace,
		LeaderElectionReleaseOnCancel: true,
		LeaseDuration:                 orNil(o.Lease.Duration),
		RenewDeadline:                 orNil(o.Lease.Renew),
		RetryPeriod:                   orNil(o.Lease.Retry),
	}
	if o.Webhook != nil {
		options.WebhookServer = o.Webhook.Server()
		maps.Copy(seen, webhook.Caches(o.Namespace))
	}
	return options, nil
}

func orNil(d time.Duration) *time.Duration {
	if d == 0 {
		return nil
	}
	return &d
}

// quiet drops what the libraries say below Info: they say a lot.
type quiet struct{ slog.Handler }

func (q quiet) Enabled(ctx context.Context, l slog.Level) bool {
	return l >= slog.LevelInfo && q.Handler.Enabled(ctx, l)
}

func (q quiet) WithAttrs(attrs []slog.Attr) slog.Handler { return quiet{q.Handler.WithAttrs(attrs)} }
func (q quiet) WithGroup(name string) slog.Handler       { return quiet{q.Handler.WithGroup(name)} }
