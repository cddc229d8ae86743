package pools

import (
	"context"
	"log/slog"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"outrigger.dev/outrigger/api/v1alpha1"
	"outrigger.dev/outrigger/internal/handoff"
	"outrigger.dev/outrigger/internal/machine"
	"outrigger.dev/outrigger/internal/provider"
)

// Places opens the providers that pools name.
type Places interface {
	// Open returns the provider of a pool; login is the Secret that its login names, or nil, and
	// access the one that its provider names. It is called often and answers from memory
	// where nothing has changed.
	Open(pool *v1alpha1.MachinePool, login, access *corev1.Secret) (Place, error)
}

// A Place is where the machines of a pool come from.
type Place struct {
	provider.Provider
	// Lasting tells that what is called a machine goes on after it is deleted:
	// then also one that is not used again is cleaned.
	Lasting bool
	// Adopt puts the pool's login into what the provider says of a machine; nil: it says all.
	Adopt func(machine.Endpoint) machine.Endpoint
}

// A Readier makes machines ready over SSH.
type Readier interface {
	// Answers returns nil if an SSH server greets there.
	Answers(ctx context.Context, ep machine.Endpoint) error
	// Prepare puts the agent and a lease key in place, and what the pool asks for. It may be
	// repeated. Also with an error it tells what it has found.
	Prepare(ctx context.Context, w Work) (Prepared, error)
	// Check tells whether a free machine would serve.
	Check(ctx context.Context, c handoff.Claim) error
	// Release ends the lease that c names, and its runs. If the machine is to serve again
	// it changes the lease key: the machine is as after Prepare.
	Release(ctx context.Context, c handoff.Claim, w Work, again bool) (handoff.Claim, error)
	// Leave takes back what preparing has put on a host that goes on when it is a
	// machine no more. c is how it was reached since, or nil.
	Leave(ctx context.Context, w Work, c *handoff.Claim) error
}

// A Work is a machine that is to be made ready, and what its pool asks of it.
type Work struct {
	Machine machine.Machine
	Pool    *v1alpha1.MachinePool
	// Lasting is [Place.Lasting]: others may have leases on the machine.
	Lasting bool
	// Identities is the Secret that the pool's keychain names, or nil.
	Identities *corev1.Secret
}

// Prepared is what preparing found out.
type Prepared struct {
	Claim      handoff.Claim // without Name and Lease
	Session    string
	Conditions []Finding
}

// A Finding becomes a condition of the machine.
type Finding struct {
	Type    string
	OK      bool
	Reason  string
	Message string
}

// Options are what the controller is given.
type Options struct {
	Namespace string // of the controller's own objects
	Owner     string // prefix of the owner at providers: "k8s-<cluster>"
	Places    Places
	Readier   Readier
	Log       *slog.Logger
	Times     Times
	Now       func() time.Time // nil: time.Now
	// Renew brings up to date what a claim says of the way to its machine; nil: nothing of it ends.
	Renew func(handoff.Claim) (handoff.Claim, error)
}

// Times are limits and intervals; those that are zero get their defaults.
type Times struct {
	Check       time.Duration // between health checks of an idle machine: 1m; a quarter of it after one that failed
	Survey      time.Duration // between looks at each provider's list: 1m
	Grace       time.Duration // how long a machine must be known to be without an object to be deleted: 5m
	Backoff     time.Duration // after the first failed creation, doubled for each further one: 5s
	BackoffMost time.Duration // 5m
	Call        time.Duration // limit of one call to a provider, other than Create: 1m
	Herald      time.Duration // between writes of what people read: 1s

	// When a machine that looks ill is given up: see [core.judge].
	Failures       int           // so many looks in a row: 3
	Toleration     time.Duration // for so long: 5m
	LoneToleration time.Duration // while no other machine of the pool looks well: 30m
}

// Defaults fills in what is not said.
func (t Times) Defaults() Times {
	for _, f := range []struct {
		field *time.Duration
		value time.Duration
	}{
		{&t.Check, time.Minute},
		{&t.Survey, time.Minute},
		{&t.Grace, 5 * time.Minute},
		{&t.Backoff, 5 * time.Second},
		{&t.BackoffMost, 5 * time.Minute},
		{&t.Call, time.Minute},
		{&t.Herald, time.Second},
		{&t.Toleration, 5 * time.Minute},
		{&t.LoneToleration, 30 * time.Minute},
	} {
		if *f.field == 0 {
			*f.field = f.value
		}
	}
	if t.Failures == 0 {
		t.Failures = 3
	}
	return t
}

// A core is what the reconcilers share.
type core struct {
	Options
	client client.Client // cached reads
	live   client.Reader
	scheme *runtime.Scheme
	events events.EventRecorder
	view   *view
	herald *herald
	stats  *stats
	meters *meters
}

// workers is how many machines are worked on at a time. Each may wait for its
// provider; what a provider bears is limited by the pool's maxCreating and the place.
const workers = 256

// Setup adds the reconcilers to mgr.
func Setup(ctx context.Context, mgr ctrl.Manager, o Options) error {
	o.Times = o.Times.Defaults()
	v, err := newView(ctx, mgr.GetCache())
	if err != nil {
		return err
	}
	c := &core{
		Options: o,
		client:  mgr.GetClient(), live: mgr.GetAPIReader(), scheme: mgr.GetScheme(),
		events: mgr.GetEventRecorder("outrigger"),
		view:   v,
		stats:  newStats(),
		meters: newMeters(),
	}
	c.stats.turn(c.now)
	c.herald = newHerald(c)
	if err := c.setupScheduler(mgr); err != nil {
		return err
	}
	if err := c.setupKeeper(mgr); err != nil {
		return err
	}
	if err := mgr.Add(c.herald); err != nil {
		return err
	}
	return mgr.Add(&survey{c})
}

// now is the time, by the clock that the controller was given.
func (c *core) now() time.Time {
	if c.Now != nil {
		return c.Now()
	}
	return time.Now()
}

// stamp is the time as objects hold it.
func (c *core) stamp() *metav1.Time {
	now := metav1.NewTime(c.now())
	return &now
}

// owner is the owner of a pool's machines at its provider.
func (c *core) owner(pool string) machine.Owner {
	return machine.Owner(c.Owner + "-" + pool)
}
