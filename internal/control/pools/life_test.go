//go:build linux

package pools_test

import (
	"context"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	autoscalingv1 "k8s.io/api/autoscaling/v1"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"outrigger.dev/outrigger/api/v1alpha1"
	"outrigger.dev/outrigger/internal/control/pools"
	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/machine"
	"outrigger.dev/outrigger/test/cloud"
)

// poolNow reads the pool.
func (w *world) poolNow() *v1alpha1.MachinePool {
	w.Helper()
	var p v1alpha1.MachinePool
	w.must(w.Get(w.Context(), client.ObjectKey{Name: w.pool}, &p))
	return &p
}

// change changes the pool's spec.
func (w *world) change(f func(*v1alpha1.MachinePoolSpec)) {
	w.Helper()
	w.eventually("the pool is changed", func() bool {
		p := w.poolNow()
		f(&p.Spec)
		return w.Update(w.Context(), p) == nil
	})
}

// is tells whether a pool's condition has that status and reason.
func (w *world) is(kind string, status metav1.ConditionStatus, reason string) bool {
	c := meta.FindStatusCondition(w.poolNow().Status.Conditions, kind)
	return c != nil && c.Status == status && c.Reason == reason
}

// heard tells whether there is such an event about an object of that name.
func (w *world) heard(name, reason, part string) bool {
	w.Helper()
	var all eventsv1.EventList
	w.must(w.List(w.Context(), &all))
	for _, e := range all.Items {
		if e.Regarding.Name == name && e.Reason == reason && strings.Contains(e.Note, part) {
			return true
		}
	}
	return false
}

func TestReuse(t *testing.T) {
	w := newWorld(t)
	w.control(pools.Times{})
	w.makePool(1, 1, func(s *v1alpha1.MachinePoolSpec) {
		s.Reuse = &v1alpha1.ReuseSpec{Policy: v1alpha1.ReuseClean, MaxUses: 2}
	})
	var served []string
	for _, name := range []string{"c1", "c2", "c3"} {
		c := w.claim(name, nil)
		w.eventually(name+" is bound", func() bool { return w.boundTo(c) != "" })
		served = append(served, c.Status.Machine)
		w.end(c)
	}
	if served[0] != served[1] || served[1] == served[2] {
		t.Errorf("claims were served by %v; want one machine for two claims, then another", served)
	}
	if n := w.ready.Releases.Load(); n < 2 {
		t.Errorf("%d releases; want one for each claim", n)
	}
}

func TestRevert(t *testing.T) {
	w := newWorld(t)
	w.control(pools.Times{})
	w.makePool(1, 1, func(s *v1alpha1.MachinePoolSpec) {
		s.Provider = v1alpha1.ProviderSpec{QEMU: &v1alpha1.QEMUProvider{}}
		s.Reuse = &v1alpha1.ReuseSpec{Policy: v1alpha1.ReuseRevert}
	})
	c := w.claim("c", nil)
	w.eventually("the claim is bound", func() bool { return w.boundTo(c) != "" })
	before, err := w.cloud.Get(w.Context(), machine.Name(c.Status.Machine))
	w.must(err)
	w.end(c)
	w.eventually("the machine is idle again", func() bool { return w.inPhase(v1alpha1.MachineIdle) == 1 })
	m := w.machines()[0]
	after, err := w.cloud.Get(w.Context(), before.Name)
	w.must(err)
	if m.Name != c.Status.Machine || m.Status.Uses != 1 || !after.Created.After(before.Created) {
		t.Errorf("machine %s with %d uses, made %s and again %s; want %s made again", m.Name, m.Status.Uses, before.Created, after.Created, c.Status.Machine)
	}
}

func TestOwnImage(t *testing.T) {
	w := newWorld(t)
	w.control(pools.Times{})
	w.makePool(1, 1, nil)
	w.eventually("one is idle", func() bool { return w.inPhase(v1alpha1.MachineIdle) == 1 })
	c := w.claim("c", func(c *v1alpha1.MachineClaim) { c.Spec.Image = "xcode-99" })
	w.eventually("the claim is bound", func() bool { return w.boundTo(c) != "" })
	m, err := w.cloud.Get(w.Context(), machine.Name(c.Status.Machine))
	if err != nil || m.Image != "xcode-99" {
		t.Errorf("bound to %+v, %v; want image xcode-99", m, err)
	}
	w.end(c)
	w.eventually("it is gone and the pool's own is back", func() bool {
		all := w.machines()
		return len(all) == 1 && all[0].Spec.Image == "" && all[0].Status.Phase == v1alpha1.MachineIdle
	})
}

func TestCreationFails(t *testing.T) {
	for _, tt := range []struct {
		kind           fault.Kind
		healthy, room  metav1.ConditionStatus
		reason, capWhy string
	}{
		{fault.NoCapacity, metav1.ConditionTrue, metav1.ConditionFalse, "Answers", "NoCapacity"},
		{fault.ProviderRefused, metav1.ConditionFalse, metav1.ConditionTrue, "ProviderRefused", "Room"},
		{fault.ProviderDown, metav1.ConditionFalse, metav1.ConditionTrue, "ProviderDown", "Room"},
	} {
		t.Run(string(tt.kind), func(t *testing.T) {
			w := newWorld(t)
			var broken atomic.Bool
			var calls atomic.Int64
			broken.Store(true)
			w.cloud.Faults.AtCreate = func(machine.Spec) error {
				calls.Add(1)
				if broken.Load() {
					return fault.New(tt.kind, "cloud: account 0815 is suspended")
				}
				return nil
			}
			times := pools.Times{Backoff: 400 * time.Millisecond}
			stop := w.control(times)
			w.makePool(2, 3, nil)
			w.eventually("the pool says so, in the provider's words", func() bool {
				p := w.poolNow()
				if p.Status.Failures < 2 || !w.is(v1alpha1.PoolProviderHealthy, tt.healthy, tt.reason) || !w.is(v1alpha1.PoolCapacity, tt.room, tt.capWhy) {
					return false
				}
				ready := meta.FindStatusCondition(p.Status.Conditions, v1alpha1.PoolReady)
				return ready.Status == metav1.ConditionFalse && strings.Contains(ready.Message, "account 0815 is suspended")
			})
			w.eventually("an event says so", func() bool { return w.heard(w.pool, "CreateFailed", "account 0815 is suspended") })

			c := w.claim("c", nil)
			w.eventually("the claim is told why it waits", func() bool {
				x := meta.FindStatusCondition(w.reload(c).Status.Conditions, v1alpha1.ClaimConditionBound)
				return x != nil && x.Reason == "CreationFailed" && strings.Contains(x.Message, "0815")
			})

			stop()
			failures := w.poolNow().Status.Failures
			if failures < 2 {
				t.Errorf("%d failures are kept for the next controller", failures)
			}
			broken.Store(false)
			w.control(times)
			w.eventually("it heals", func() bool { return w.boundTo(c) != "" && w.poolNow().Status.Failures == 0 })
			w.eventually("and says so", func() bool { return w.is(v1alpha1.PoolProviderHealthy, metav1.ConditionTrue, "Answers") })
		})
	}
}

// An answer that was lost has left a machine: the next call finds it by its name.
func TestLostAnswers(t *testing.T) {
	w := newWorld(t)
	w.cloud.Faults = cloud.Faults{Lose: .5}
	w.control(pools.Times{Backoff: 5 * time.Millisecond})
	w.makePool(5, 5, nil)
	w.eventually("five are idle", func() bool { return w.inPhase(v1alpha1.MachineIdle) == 5 })
	if n := w.cloud.Count(); n != 5 {
		t.Errorf("%d machines at the provider; want 5", n)
	}
}

func TestHealth(t *testing.T) {
	w := newWorld(t)
	w.control(pools.Times{Check: 50 * time.Millisecond, Toleration: 100 * time.Millisecond, LoneToleration: 200 * time.Millisecond})
	w.makePool(1, 2, nil)
	w.eventually("one is idle", func() bool { return w.inPhase(v1alpha1.MachineIdle) == 1 })
	sick := w.machines()[0].Name
	w.eventually("it is looked at", func() bool { return w.ready.Checks.Load() > 1 })
	w.ready.Sick.Store(&sick)
	w.eventually("it is replaced", func() bool {
		all := w.machines()
		return len(all) == 1 && all[0].Name != sick && all[0].Status.Phase == v1alpha1.MachineIdle
	})
	w.eventually("an event says why", func() bool { return w.heard(sick, "MachineFailed", "no route to host") })
}

func TestLostWhileLeased(t *testing.T) {
	w := newWorld(t)
	w.control(pools.Times{Survey: 50 * time.Millisecond, Toleration: 100 * time.Millisecond, LoneToleration: 200 * time.Millisecond})
	w.makePool(0, 1, nil)
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.pool, Name: w.pool + "-pod"},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "i"}}},
	}
	w.must(w.Create(w.Context(), pod))
	c := w.claim("c", func(c *v1alpha1.MachineClaim) {
		c.Spec.Holder = &v1alpha1.Holder{Kind: "Pod", Name: pod.Name, UID: string(pod.UID)}
	})
	w.eventually("the claim is bound", func() bool { return w.boundTo(c) != "" })
	w.eventually("it is leased", func() bool { return w.inPhase(v1alpha1.MachineLeased) == 1 })
	w.must(w.cloud.Lose(c.Status.Machine))
	w.eventually("the claim says so", func() bool {
		x := meta.FindStatusCondition(w.reload(c).Status.Conditions, v1alpha1.ClaimConditionBound)
		return x.Status == metav1.ConditionFalse && x.Reason == string(fault.MachineLost)
	})
	w.eventually("the Pod is told", func() bool { return w.heard(w.pool+"-pod", "MachineLost", c.Status.Machine) })
	if w.inPhase(v1alpha1.MachineFailed) != 1 {
		t.Error("the machine is not Failed")
	}
	w.end(c)
	w.eventually("the machine is gone", func() bool { return len(w.machines()) == 0 })
}

func TestOrphans(t *testing.T) {
	w := newWorld(t)
	w.makePool(0, 1, nil)
	var system v1alpha1.MachinePool
	w.must(w.Get(w.Context(), client.ObjectKey{Name: w.pool}, &system))
	owner := machine.Owner("k8s-test-" + w.pool)
	for name, by := range map[machine.Name]machine.Owner{"orphan": owner, "stranger": "k8s-other-" + machine.Owner(w.pool)} {
		_, err := w.cloud.Create(w.Context(), machine.Spec{Name: name, Owner: by})
		w.must(err)
	}
	w.controlAs("test", pools.Times{Survey: 50 * time.Millisecond, Grace: time.Millisecond})
	w.eventually("the orphan is gone", func() bool { return w.cloud.Count() == 1 })
	if names := w.cloud.Names(); names[0] != "stranger" {
		t.Errorf("left: %v; want the other cluster's", names)
	}
	w.eventually("an event says so", func() bool { return w.heard(w.pool, "OrphanDeleted", "orphan") })
}

func TestOutageDuringDelete(t *testing.T) {
	w := newWorld(t)
	w.control(pools.Times{})
	w.makePool(1, 1, nil)
	w.eventually("one is idle", func() bool { return w.inPhase(v1alpha1.MachineIdle) == 1 })
	w.cloud.SetFaults(cloud.Faults{Fail: 1})
	w.change(func(s *v1alpha1.MachinePoolSpec) { *s.Warm = 0 })
	w.eventually("the object says why it is still there", func() bool {
		all := w.machines()
		if len(all) != 1 {
			t.Fatalf("%d objects, while the machine exists", len(all))
		}
		x := meta.FindStatusCondition(all[0].Status.Conditions, v1alpha1.MachineReady)
		return x.Reason == "DeleteFailed" && strings.Contains(x.Message, "503")
	})
	w.cloud.SetFaults(cloud.Faults{})
	w.eventually("it is gone", func() bool { return len(w.machines()) == 0 && w.cloud.Count() == 0 })
}

// A controller that ends in the middle of a creation leaves a name; the next asks for the same one.
func TestRestartDuringCreate(t *testing.T) {
	w := newWorld(t)
	entered, hold := make(chan string, 10), make(chan struct{})
	var blocking atomic.Bool
	blocking.Store(true)
	w.cloud.Faults.AtCreate = func(s machine.Spec) error {
		entered <- string(s.Name)
		if blocking.Load() {
			<-hold
			return fault.New(fault.ProviderDown, "cloud: gone")
		}
		return nil
	}
	stop := w.control(pools.Times{})
	w.makePool(1, 1, nil)
	first := <-entered
	go func() { time.Sleep(10 * time.Millisecond); close(hold) }() // Create ends after the controller was told to
	stop()
	blocking.Store(false)
	w.control(pools.Times{})
	if second := <-entered; second != first {
		t.Errorf("asked for %s, then for %s", first, second)
	}
	w.eventually("one is idle", func() bool { return w.inPhase(v1alpha1.MachineIdle) == 1 })
}

func TestScale(t *testing.T) {
	w := newWorld(t)
	w.control(pools.Times{})
	w.makePool(1, 5, nil)
	for _, want := range []int32{3, 1} {
		p := w.poolNow()
		w.must(w.SubResource("scale").Update(w.Context(), p, client.WithSubResourceBody(&autoscalingv1.Scale{Spec: autoscalingv1.ScaleSpec{Replicas: want}})))
		w.eventually("as many as wanted are idle", func() bool { return w.inPhase(v1alpha1.MachineIdle) == int(want) && len(w.machines()) == int(want) })
		w.eventually("scale tells", func() bool {
			var s autoscalingv1.Scale
			w.must(w.SubResource("scale").Get(w.Context(), p, &s))
			return s.Status.Replicas == want && w.poolNow().Status.Idle == want
		})
	}
}

func TestPoolIsDeleted(t *testing.T) {
	w := newWorld(t)
	w.control(pools.Times{})
	w.makePool(1, 2, nil)
	c := w.claim("c", nil)
	w.eventually("one is leased, one idle", func() bool {
		return w.boundTo(c) != "" && w.inPhase(v1alpha1.MachineLeased) == 1 && w.inPhase(v1alpha1.MachineIdle) == 1
	})
	w.must(w.Client.Delete(w.Context(), w.poolNow()))
	w.eventually("the idle one goes", func() bool { return len(w.machines()) == 1 })
	if w.inPhase(v1alpha1.MachineLeased) != 1 {
		t.Error("the leased machine was touched")
	}
	late := w.claim("late", nil)
	w.eventually("who comes now is told", func() bool {
		x := meta.FindStatusCondition(w.reload(late).Status.Conditions, v1alpha1.ClaimConditionBound)
		return x != nil && x.Reason == "PoolDeleted"
	})
	w.end(c)
	w.eventually("all is gone", func() bool {
		err := w.Get(w.Context(), client.ObjectKey{Name: w.pool}, &v1alpha1.MachinePool{})
		return apierrors.IsNotFound(err) && w.cloud.Count() == 0
	})
}

func TestQueue(t *testing.T) {
	w := newWorld(t)
	w.control(pools.Times{})
	lost := w.claim("nopool", func(c *v1alpha1.MachineClaim) { c.Spec.Pool = "no-such-pool" })
	w.makePool(0, 1, func(s *v1alpha1.MachinePoolSpec) { s.MaxPriority = new(int32(5)) })
	first := w.claim("first", nil)
	w.eventually("the first is bound", func() bool { return w.boundTo(first) != "" })
	second := w.claim("second", nil)
	w.eventually("the second waits", func() bool { return w.reload(second).Status.Position == 1 })
	third := w.claim("third", func(c *v1alpha1.MachineClaim) { c.Spec.Priority = 5 })
	w.eventually("the third has priority", func() bool {
		return w.reload(third).Status.Position == 1 && w.reload(second).Status.Position == 2
	})
	x := meta.FindStatusCondition(second.Status.Conditions, v1alpha1.ClaimConditionBound)
	if x.Reason != "PoolAtMax" || second.Status.Phase != v1alpha1.ClaimQueued {
		t.Errorf("the second claim: %s, %+v", second.Status.Phase, x)
	}
	w.eventually("an event tells the position", func() bool { return w.heard("second", "Waiting", "1 of 1 in the queue") })
	w.eventually("a pool that is not there is said to be not there", func() bool {
		x := meta.FindStatusCondition(w.reload(lost).Status.Conditions, v1alpha1.ClaimConditionBound)
		return x != nil && x.Reason == "PoolNotFound"
	})
	w.end(first)
	w.eventually("the third is next", func() bool { return w.boundTo(third) != "" })
	if w.boundTo(second) != "" {
		t.Error("the second was served before its turn")
	}
	w.eventually("its position is told", func() bool { return w.reload(second).Status.Position == 1 })
	if third.Status.Position != 0 {
		t.Errorf("a bound claim has position %d", third.Status.Position)
	}
	w.eventually("the queue is counted", func() bool { return w.poolNow().Status.Queued == 1 && w.poolNow().Status.StartTime != nil })
}

// An image that one claim wants and nobody has is that claim's mistake: it fails, and the pool goes on.
func TestOneClaimsWrongImage(t *testing.T) {
	w := newWorld(t)
	w.cloud.Faults.AtCreate = func(s machine.Spec) error {
		if s.Image == "sonnoma" {
			return fault.New(fault.UnknownImage, "cloud: no image %s", s.Image)
		}
		return nil
	}
	w.control(pools.Times{Backoff: time.Hour, BackoffMost: time.Hour})
	w.makePool(0, 2, nil)
	wrong := w.claim("wrong", func(c *v1alpha1.MachineClaim) { c.Spec.Image = "sonnoma" })
	w.eventually("it is refused in the provider's words", func() bool {
		x := meta.FindStatusCondition(w.reload(wrong).Status.Conditions, v1alpha1.ClaimConditionBound)
		return wrong.Status.Phase == v1alpha1.ClaimFailed && x != nil && x.Reason == "UnknownImage" && strings.Contains(x.Message, "no image sonnoma")
	})
	right := w.claim("right", nil)
	w.eventually("another claim is served", func() bool { return w.boundTo(right) != "" })
	if n := w.poolNow().Status.Failures; n != 0 {
		t.Errorf("%d failures count against the pool", n)
	}
}

// The webhook refuses Pods; whoever makes a claim by hand is refused here.
func TestANamespaceThatMayNotUseThePool(t *testing.T) {
	w := newWorld(t)
	w.control(pools.Times{})
	w.makePool(1, 1, func(s *v1alpha1.MachinePoolSpec) {
		s.AllowedNamespaces = &metav1.LabelSelector{MatchLabels: map[string]string{"team": "mobile"}}
	})
	c := w.claim("stranger", nil)
	w.eventually("the claim is refused", func() bool {
		x := meta.FindStatusCondition(w.reload(c).Status.Conditions, v1alpha1.ClaimConditionBound)
		return c.Status.Phase == v1alpha1.ClaimFailed && x != nil && x.Reason == "NamespaceNotAllowed" && strings.Contains(x.Message, "team=mobile")
	})
	var ns corev1.Namespace
	w.must(w.Get(t.Context(), client.ObjectKey{Name: c.Namespace}, &ns))
	ns.Labels["team"] = "mobile"
	w.must(w.Update(t.Context(), &ns))
	t.Cleanup(func() {
		delete(ns.Labels, "team")
		w.must(w.Update(context.Background(), &ns))
	})
	friend := w.claim("friend", nil)
	w.eventually("one of a namespace that may is served", func() bool { return w.boundTo(friend) != "" || w.reload(friend).Status.Phase == v1alpha1.ClaimFailed })
	if w.boundTo(friend) == "" {
		t.Errorf("%+v", friend.Status)
	}
}

// A controller that ended between the two writes of a binding is completed by the next one.
func TestHalfBound(t *testing.T) {
	w := newWorld(t)
	stop := w.control(pools.Times{})
	w.makePool(2, 2, nil)
	w.eventually("two are idle", func() bool { return w.inPhase(v1alpha1.MachineIdle) == 2 })
	stop()
	c := w.claim("c", nil)
	ref := &v1alpha1.ClaimReference{Namespace: c.Namespace, Name: c.Name, UID: string(c.UID)}
	m := w.machines()[0]
	m.Spec.Claim = ref
	w.must(w.Update(context.Background(), &m))
	w.control(pools.Times{})
	w.eventually("the claim knows", func() bool { return w.boundTo(c) == m.Name })

	// And of two that were given by two controllers, the one that the claim does not know of comes back.
	other := w.machines()[1]
	if other.Spec.Claim != nil {
		t.Fatalf("machine %s has claim %v", other.Name, other.Spec.Claim)
	}
	w.eventually("the other is given too", func() bool {
		w.must(w.Get(w.Context(), client.ObjectKeyFromObject(&other), &other))
		other.Spec.Claim = ref
		return w.Update(w.Context(), &other) == nil
	})
	w.eventually("it is released", func() bool {
		return apierrors.IsNotFound(w.Get(w.Context(), client.ObjectKeyFromObject(&other), &other))
	})
	if w.boundTo(c) != m.Name {
		t.Errorf("the claim is bound to %q; want %s as before", w.boundTo(c), m.Name)
	}
}

func TestLoginSecretIsMissing(t *testing.T) {
	w := newWorld(t)
	w.control(pools.Times{})
	w.makePool(1, 1, func(s *v1alpha1.MachinePoolSpec) {
		s.Login = &v1alpha1.LoginSpec{User: "ci", SecretName: "nowhere"}
	})
	w.eventually("the pool says so", func() bool {
		x := meta.FindStatusCondition(w.poolNow().Status.Conditions, v1alpha1.PoolProviderHealthy)
		return x != nil && x.Reason == string(fault.Config) && strings.Contains(x.Message, w.pool+"/nowhere")
	})
}

// gauges are the names of the metrics that have a value for the world's pool.
func (w *world) gauges() (names []string) {
	w.Helper()
	all, err := metrics.Registry.Gather()
	w.must(err)
	for _, family := range all {
		for _, m := range family.Metric {
			for _, l := range m.Label {
				if m.Gauge != nil && l.GetName() == "pool" && l.GetValue() == w.pool && !slices.Contains(names, family.GetName()) {
					names = append(names, family.GetName())
				}
			}
		}
	}
	return names
}

func TestGaugesGoWithTheirPool(t *testing.T) {
	w := newWorld(t)
	w.control(pools.Times{})
	w.makePool(1, 1, nil)
	w.eventually("there are gauges", func() bool { return len(w.gauges()) >= 4 })
	w.must(w.Delete(t.Context(), w.poolNow()))
	w.eventually("the pool is gone", func() bool {
		return apierrors.IsNotFound(w.Get(t.Context(), client.ObjectKey{Name: w.pool}, &v1alpha1.MachinePool{}))
	})
	w.eventually("so are its gauges", func() bool { return len(w.gauges()) == 0 })
}

// A pool in deletion whose provider cannot be asked what it has left says so, and goes when that stays so.
func TestPoolWhoseProviderCannotBeAsked(t *testing.T) {
	w := newWorld(t)
	w.control(pools.Times{Toleration: 2 * time.Second})
	w.makePool(0, 1, func(s *v1alpha1.MachinePoolSpec) {
		s.Login = &v1alpha1.LoginSpec{User: "ci", SecretName: "nowhere"}
	})
	w.eventually("it is kept by its finalizer", func() bool { return len(w.poolNow().Finalizers) > 0 })
	w.must(w.Delete(t.Context(), w.poolNow()))
	w.eventually("it says what it waits for", func() bool {
		x := meta.FindStatusCondition(w.poolNow().Status.Conditions, v1alpha1.PoolReady)
		return x != nil && x.Reason == "Deleting" && strings.Contains(x.Message, w.pool+"/nowhere")
	})
	w.eventually("it is gone", func() bool {
		return apierrors.IsNotFound(w.Get(t.Context(), client.ObjectKey{Name: w.pool}, &v1alpha1.MachinePool{}))
	})
	w.eventually("so are its gauges", func() bool { return len(w.gauges()) == 0 })
	w.eventually("an event says so", func() bool { return w.heard(w.pool, "ProviderNotAsked", "nowhere") })
}

// A claim's priority counts as far as its pool allows it, which is not at all if it does not say: then the older claim
// is first.
func TestPriorityWithinThePoolsLimit(t *testing.T) {
	w := newWorld(t)
	w.control(pools.Times{})
	w.makePool(0, 1, nil)
	first := w.claim("first", nil)
	w.eventually("the first is bound", func() bool { return w.boundTo(first) != "" })
	second := w.claim("second", nil)
	w.eventually("the second waits", func() bool { return w.reload(second).Status.Position == 1 })
	// API objects count whole seconds, and the third is to be younger than the second.
	w.eventually("a second later", func() bool { return time.Since(second.CreationTimestamp.Time) > 1100*time.Millisecond })
	third := w.claim("third", func(c *v1alpha1.MachineClaim) { c.Spec.Priority = 1000 })
	w.eventually("the third waits behind it", func() bool { return w.reload(third).Status.Position == 2 })
	w.end(first)
	w.eventually("the second is next", func() bool { return w.boundTo(second) != "" })
	w.end(second)
	w.eventually("then the third", func() bool { return w.boundTo(third) != "" })
	w.end(third)
}
