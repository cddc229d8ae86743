package pools

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	toolscache "k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"outrigger.dev/outrigger/api/v1alpha1"
	"outrigger.dev/outrigger/internal/handoff"
	"outrigger.dev/outrigger/internal/machine"
	"outrigger.dev/outrigger/internal/pool"
	"outrigger.dev/outrigger/internal/provider"
)

// A desk is a keeper and a survey with objects in memory, a clock that the test turns, and machines that answer as the
// test says. It is what a controller is right after its start.
type desk struct {
	*testing.T
	*core
	keeper  *keeper
	clock   time.Time
	pool    *v1alpha1.MachinePool
	sick    map[string]error // by machine: what its health check says
	checks  int
	held    []machine.Machine // what the provider has
	listErr error
}

// Check implements [Readier].
func (d *desk) Check(_ context.Context, c handoff.Claim) error {
	d.checks++
	return d.sick[string(c.Machine)]
}

type readier struct {
	Readier
	*desk
}

func (r readier) Check(ctx context.Context, c handoff.Claim) error { return r.desk.Check(ctx, c) }

// Open implements [Places].
func (d *desk) Open(*v1alpha1.MachinePool, *corev1.Secret, *corev1.Secret) (Place, error) {
	return Place{Provider: listing{nil, d}}, nil
}

// listing is a provider that can be asked what it has.
type listing struct {
	provider.Provider
	*desk
}

func (l listing) List(context.Context, machine.Owner) ([]machine.Machine, error) {
	return l.desk.held, l.listErr
}

func (l listing) Get(_ context.Context, name machine.Name) (machine.Machine, error) {
	for _, m := range l.desk.held {
		if m.Name == name {
			return m, nil
		}
	}
	return machine.Machine{}, unknown(name)
}

func (l listing) Delete(_ context.Context, name machine.Name) error {
	var rest []machine.Machine
	for _, m := range l.desk.held {
		if m.Name != name {
			rest = append(rest, m)
		}
	}
	l.desk.held = rest
	return nil
}

// newDesk has a pool of so many idle machines m0, m1, …, which have been idle for hours.
func newDesk(t *testing.T, machines int) *desk {
	t.Helper()
	d := &desk{T: t, clock: time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC), sick: map[string]error{}}
	scheme := runtime.NewScheme()
	must(t, clientgoscheme.AddToScheme(scheme))
	must(t, v1alpha1.AddToScheme(scheme))
	d.pool = &v1alpha1.MachinePool{ObjectMeta: metav1.ObjectMeta{Name: "p", UID: "p", Finalizers: []string{v1alpha1.FinalizerPool}}}
	d.pool.Spec.Max, d.pool.Spec.Warm = int32(machines), ptr.To(int32(machines))
	objects := []client.Object{d.pool}
	past := metav1.NewTime(d.clock.Add(-3 * time.Hour))
	for i := range machines {
		name := fmt.Sprint("m", i)
		m := &v1alpha1.Machine{ObjectMeta: metav1.ObjectMeta{
			Name: name, UID: types.UID(name), CreationTimestamp: past, Labels: map[string]string{v1alpha1.LabelPool: "p"},
		}}
		m.Spec.Pool = "p"
		m.Status.Phase, m.Status.PhaseSince, m.Status.Address, m.Status.Port = v1alpha1.MachineIdle, &past, name, 22
		b, err := json.Marshal(handoff.Claim{Version: handoff.Version, Machine: machine.Name(name)})
		must(t, err)
		objects = append(objects, m, &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: LoginSecret(name)}, Data: map[string][]byte{handoff.SecretKey: b},
		})
		d.held = append(d.held, machine.Machine{Name: machine.Name(name), State: machine.Running, Created: past.Time})
	}
	c := fake.NewClientBuilder().WithScheme(scheme).WithObjects(objects...).
		WithStatusSubresource(&v1alpha1.Machine{}, &v1alpha1.MachinePool{}, &v1alpha1.MachineClaim{}).Build()
	inf := func(o runtime.Object, by toolscache.Indexers) toolscache.SharedIndexInformer {
		i := toolscache.NewSharedIndexInformer(&toolscache.ListWatch{}, o, 0, by)
		return i
	}
	v := &view{
		machines: inf(&v1alpha1.Machine{}, toolscache.Indexers{byPool: keys(poolOfMachine)}), pools: inf(&v1alpha1.MachinePool{}, nil),
		claims: inf(&v1alpha1.MachineClaim{}, toolscache.Indexers{byPool: keys(poolOfClaim)}), images: inf(&v1alpha1.MachineImage{}, nil),
	}
	v.wroteMachines = newRecent[*v1alpha1.Machine](v.machines.LastSyncResourceVersion)
	v.wroteClaims = newRecent[*v1alpha1.MachineClaim](v.claims.LastSyncResourceVersion)
	d.core = &core{
		client: c, live: c, scheme: scheme, events: events.NewFakeRecorder(1000), view: v, meters: newMeters(),
		Options: Options{Namespace: "ns", Owner: "k8s", Times: Times{}.Defaults(), Log: slog.New(slog.DiscardHandler)},
	}
	d.core.Readier, d.core.Places = readier{nil, d}, d
	d.keeper = &keeper{d.core}
	d.restart()
	return d
}

// restart is another process: it has the objects and nothing else.
func (d *desk) restart() {
	d.Now = func() time.Time { return d.clock }
	d.core.stats = newStats()
	d.core.stats.turn(d.now)
	d.core.herald = newHerald(d.core)
	d.refresh()
}

// refresh lets the caches have what the API server has.
func (d *desk) refresh() {
	d.Helper()
	var pools v1alpha1.MachinePoolList
	var machines v1alpha1.MachineList
	must(d.T, d.client.List(d.Context(), &pools))
	must(d.T, d.client.List(d.Context(), &machines))
	var ps, ms []any
	for i := range pools.Items {
		ps = append(ps, &pools.Items[i])
	}
	for i := range machines.Items {
		ms = append(ms, &machines.Items[i])
	}
	must(d.T, d.view.pools.GetStore().Replace(ps, ""))
	must(d.T, d.view.machines.GetStore().Replace(ms, ""))
	d.pool = d.view.pool("p")
}

// pass lets so much time pass in steps, with all that is due in each.
func (d *desk) pass(total, step time.Duration) {
	d.Helper()
	for ; total > 0; total -= step {
		d.clock = d.clock.Add(step)
		d.look()
	}
}

// look lets the keeper look at each idle machine.
func (d *desk) look() {
	d.Helper()
	for _, m := range d.all() {
		if m.Status.Phase == v1alpha1.MachineIdle {
			_, err := d.keeper.idle(d.Context(), m)
			must(d.T, err)
		}
	}
	d.refresh()
}

// survey looks at the provider's list so many times, a minute apart.
func (d *desk) survey(times int) {
	d.Helper()
	for range times {
		d.clock = d.clock.Add(time.Minute)
		if err := (&survey{d.core}).look(d.Context(), d.pool, d.Times.Grace); err != nil && d.listErr == nil {
			d.Fatal(err)
		}
		d.refresh()
	}
}

// bind has the scheduler find a machine for a new claim. It decides again, up to so many times, while what it chose
// does not serve.
func (d *desk) bind(name string, times int) (err error) {
	d.Helper()
	cl := &v1alpha1.MachineClaim{ObjectMeta: metav1.ObjectMeta{
		Namespace: "ns", Name: name, UID: types.UID(name), CreationTimestamp: metav1.NewTime(d.clock),
	}}
	cl.Spec.Pool = "p"
	must(d.T, d.client.Create(d.Context(), cl))
	for range times {
		snapshot, claims := d.snapshot(d.pool, d.all(), []*v1alpha1.MachineClaim{cl})
		err = (&scheduler{d.core}).carryOut(d.Context(), d.pool, claims, d.all(), pool.Plan(snapshot))
		d.refresh()
		if !errors.Is(err, errIll) {
			break
		}
	}
	return err
}

func (d *desk) all() []*v1alpha1.Machine {
	all, _ := d.view.machinesOf("p")
	return all
}

// inPhase returns the names of the machines in a phase.
func (d *desk) inPhase(phase v1alpha1.MachinePhase) []string {
	names := []string{}
	for _, m := range d.all() {
		if m.Status.Phase == phase {
			names = append(names, m.Name)
		}
	}
	return names
}

// health is what the pool says of its machines: the reason and the message.
func (d *desk) health() (reason, message string) {
	d.Helper()
	must(d.T, d.herald.tellPool(d.Context(), d.pool))
	d.refresh()
	c := meta.FindStatusCondition(d.pool.Status.Conditions, v1alpha1.PoolMachinesHealthy)
	return c.Reason, c.Message
}

// heard returns the events up to now.
func (d *desk) heard() []string {
	var all []string
	for {
		select {
		case e := <-d.events.(*events.FakeRecorder).Events:
			all = append(all, e)
		default:
			return all
		}
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
