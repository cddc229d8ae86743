//go:build linux

package pools_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"outrigger.dev/outrigger/api/v1alpha1"
	"outrigger.dev/outrigger/internal/control/manager"
	"outrigger.dev/outrigger/internal/control/pools"
	"outrigger.dev/outrigger/test/apiserver"
	"outrigger.dev/outrigger/test/cloud"
	"outrigger.dev/outrigger/test/controller"
)

var server *apiserver.Server

func TestMain(m *testing.M) { apiserver.Main(m, &server) }

// A world is a controller with a cloud and a client that looks on. Its pool and namespaces
// have names of their own: the API server is shared.
type world struct {
	*testing.T
	client.Client
	cloud *cloud.Cloud
	ready *cloud.Readier
	pool  string
}

var worlds atomic.Int64

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{T: t, cloud: &cloud.Cloud{Dir: t.TempDir()}, ready: &cloud.Readier{}, pool: fmt.Sprintf("pool-%d", worlds.Add(1))}
	w.must(w.cloud.Init())
	var err error
	w.Client, err = client.New(server.Config(), client.Options{Scheme: server.Scheme()})
	w.must(err)
	w.namespace(w.pool)
	return w
}

func (w *world) must(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

func (w *world) namespace(name string) {
	w.Helper()
	w.must(w.Create(w.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}))
}

// control runs a controller until the test ends or stop is called.
func (w *world) control(times pools.Times) (stop func()) {
	w.Helper()
	return w.controlAs("", times)
}

// controlAs does so with another identity of the cluster.
func (w *world) controlAs(cluster string, times pools.Times) (stop func()) {
	w.Helper()
	if times.Backoff == 0 {
		times.Backoff = 50 * time.Millisecond
	}
	times.Herald = 20 * time.Millisecond
	return controller.Start(w.T, server.Config(), manager.Options{
		Namespace: w.pool, ClusterID: cluster,
		Places: cloud.Places{Cloud: w.cloud}, Readier: w.ready, Times: times,
	})
}

// makePool makes the world's pool, changed by change.
func (w *world) makePool(warm, max int32, change func(*v1alpha1.MachinePoolSpec)) {
	w.Helper()
	p := &v1alpha1.MachinePool{ObjectMeta: metav1.ObjectMeta{Name: w.pool}, Spec: v1alpha1.MachinePoolSpec{
		OS: "linux", Arch: "amd64", Provider: v1alpha1.ProviderSpec{Local: &v1alpha1.LocalProvider{}}, Warm: &warm, Max: max,
	}}
	if change != nil {
		change(&p.Spec)
	}
	w.must(w.Create(w.Context(), p))
	w.Cleanup(func() {
		// The next test's controller sees all pools of the server.
		ctx := context.WithoutCancel(w.Context())
		if err := client.IgnoreNotFound(w.Delete(ctx, p)); err != nil {
			w.Error(err)
		}
		for _, m := range w.machines() {
			m.Finalizers = nil
			if err := client.IgnoreNotFound(w.Update(ctx, &m)); err != nil {
				w.Log(err)
			}
			_ = client.IgnoreNotFound(w.Delete(ctx, &m))
		}
		if w.Get(ctx, client.ObjectKeyFromObject(p), p) == nil {
			p.Finalizers = nil
			_ = w.Update(ctx, p)
		}
	})
}

func (w *world) machines() []v1alpha1.Machine {
	w.Helper()
	var all v1alpha1.MachineList
	w.must(w.List(context.WithoutCancel(w.Context()), &all, client.MatchingLabels{v1alpha1.LabelPool: w.pool}))
	return all.Items
}

// inPhase counts the pool's machines.
func (w *world) inPhase(phase v1alpha1.MachinePhase) int {
	w.Helper()
	n := 0
	for _, m := range w.machines() {
		if m.Status.Phase == phase && (phase != v1alpha1.MachineIdle || m.Spec.Claim == nil) {
			n++
		}
	}
	return n
}

// claim asks for a machine.
func (w *world) claim(name string, change func(*v1alpha1.MachineClaim)) *v1alpha1.MachineClaim {
	w.Helper()
	c := &v1alpha1.MachineClaim{ObjectMeta: metav1.ObjectMeta{Namespace: w.pool, Name: name}, Spec: v1alpha1.MachineClaimSpec{Pool: w.pool}}
	if change != nil {
		change(c)
	}
	w.must(w.Create(w.Context(), c))
	return c
}

// reload reads the claim.
func (w *world) reload(c *v1alpha1.MachineClaim) *v1alpha1.MachineClaim {
	w.Helper()
	w.must(w.Get(w.Context(), client.ObjectKeyFromObject(c), c))
	return c
}

func (w *world) boundTo(c *v1alpha1.MachineClaim) string {
	w.Helper()
	if w.reload(c).Status.Phase != v1alpha1.ClaimBound {
		return ""
	}
	return c.Status.Machine
}

// end says that the claim's holder has ended, as the Pods' controller does.
func (w *world) end(c *v1alpha1.MachineClaim) {
	w.Helper()
	w.eventually("claim "+c.Name+" is over", func() bool {
		w.reload(c)
		now := metav1.Now()
		c.Status.Phase, c.Status.ReleasedAt = v1alpha1.ClaimReleased, &now
		return w.Status().Update(w.Context(), c) == nil
	})
}

// eventually waits for a fact.
func (w *world) eventually(what string, fact func() bool) {
	w.Helper()
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if fact() {
			return
		}
	}
	for _, m := range w.machines() {
		w.Logf("machine %s: %s, claim %v, %+v", m.Name, m.Status.Phase, m.Spec.Claim, m.Status.Conditions)
	}
	w.Fatalf("not within 30 s: %s", what)
}
