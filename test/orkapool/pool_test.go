//go:build linux

// Package orkapool has a MachinePool of an Orka cluster's VMs: the controller on a real API
// server, the provider as pools open it, and the cluster that outrigger dev orka serves.
package orkapool

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"outrigger.dev/outrigger/api/v1alpha1"
	"outrigger.dev/outrigger/internal/control/manager"
	"outrigger.dev/outrigger/internal/control/places"
	"outrigger.dev/outrigger/internal/control/pools"
	"outrigger.dev/outrigger/internal/devorka"
	"outrigger.dev/outrigger/internal/devorka/inject"
	"outrigger.dev/outrigger/internal/devorka/operator"
	"outrigger.dev/outrigger/internal/provider/all"
	"outrigger.dev/outrigger/test/apiserver"
	"outrigger.dev/outrigger/test/cloud"
	"outrigger.dev/outrigger/test/controller"
)

var server *apiserver.Server

func TestMain(m *testing.M) { apiserver.Main(m, &server) }

var worlds atomic.Int64

var quick = operator.Times{
	Uncached: 200 * time.Millisecond, Cached: 50 * time.Millisecond, SSH: 30 * time.Millisecond, Login: 20 * time.Millisecond,
	End: 20 * time.Millisecond,
}

// A world is a controller, an Orka with one host, and a pool of its VMs.
type world struct {
	*testing.T
	client.Client
	orka *devorka.Server
	pool string
}

// newWorld makes one whose token is good for ttl.
func newWorld(t *testing.T, pool string, ttl time.Duration, change func(*v1alpha1.MachinePoolSpec)) *world {
	t.Helper()
	return newWorldOf(t, devorka.Config{}, pool, ttl, change)
}

// newWorldOf makes one with an Orka that is as cfg says.
func newWorldOf(t *testing.T, cfg devorka.Config, pool string, ttl time.Duration, change func(*v1alpha1.MachinePoolSpec)) *world {
	t.Helper()
	pool = fmt.Sprintf("%s-%d", pool, worlds.Add(1)) // -count repeats tests on one API server
	cfg.Times, cfg.Log = &quick, slog.New(slog.DiscardHandler)
	s, err := devorka.Start(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	w := &world{T: t, orka: s, pool: pool}
	w.Client, err = client.New(server.Config(), client.Options{Scheme: server.Scheme()})
	w.must(err)
	token, err := s.Token(devorka.Grant{Role: "orka-dev", TTL: ttl})
	w.must(err)
	w.must(w.Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: pool}}))
	w.must(w.Create(t.Context(), &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: pool, Name: "orka-token"}, StringData: map[string]string{"token": token + "\n"},
	}))
	w.control()
	none := int32(0)
	p := &v1alpha1.MachinePool{ObjectMeta: metav1.ObjectMeta{Name: pool}, Spec: v1alpha1.MachinePoolSpec{
		OS: "linux", Arch: "arm64", Warm: &none, Max: 4,
		Provider: v1alpha1.ProviderSpec{Orka: &v1alpha1.OrkaProvider{
			Endpoint: s.Endpoint(), TokenSecretName: "orka-token", CapacityWait: &metav1.Duration{Duration: 300 * time.Millisecond},
		}},
	}}
	if change != nil {
		change(&p.Spec)
	}
	w.must(w.Create(t.Context(), p))
	t.Cleanup(func() {
		s.Faults().Remove(0)
		ctx := context.WithoutCancel(t.Context())
		w.must(client.IgnoreNotFound(w.DeleteAllOf(ctx, &v1alpha1.MachineClaim{}, client.InNamespace(pool))))
		w.must(client.IgnoreNotFound(w.Delete(ctx, p)))
		w.eventually("the pool is gone with all its VMs", func() bool {
			return w.Get(ctx, client.ObjectKeyFromObject(p), p) != nil && len(s.VMs()) == 0
		})
	})
	return w
}

func (w *world) must(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

// control runs a controller until the test has ended and cleaned up.
func (w *world) control() {
	w.Helper()
	controller.Start(w.T, server.Config(), manager.Options{
		Namespace: w.pool,
		Places:    places.New(all.Place{State: w.TempDir()}), Readier: &cloud.Readier{}, Log: slog.New(slog.DiscardHandler),
		Times: pools.Times{
			Backoff: 200 * time.Millisecond, BackoffMost: time.Second, Survey: 200 * time.Millisecond,
			Toleration: time.Second, LoneToleration: 2 * time.Second,
			Herald: 20 * time.Millisecond, Call: 3 * time.Second,
		},
	})
}

func (w *world) claim(name string) *v1alpha1.MachineClaim {
	w.Helper()
	c := &v1alpha1.MachineClaim{ObjectMeta: metav1.ObjectMeta{Namespace: w.pool, Name: name}, Spec: v1alpha1.MachineClaimSpec{Pool: w.pool}}
	w.must(w.Create(w.Context(), c))
	return c
}

func (w *world) bound(c *v1alpha1.MachineClaim) bool {
	w.must(w.Get(w.Context(), client.ObjectKeyFromObject(c), c))
	return c.Status.Phase == v1alpha1.ClaimBound
}

// release says that the claim's holder has ended, as the Pods' controller does.
func (w *world) release(c *v1alpha1.MachineClaim) {
	w.eventually("claim "+c.Name+" is over", func() bool {
		w.must(w.Get(w.Context(), client.ObjectKeyFromObject(c), c))
		now := metav1.Now()
		c.Status.Phase, c.Status.ReleasedAt = v1alpha1.ClaimReleased, &now
		return w.Status().Update(w.Context(), c) == nil
	})
}

func (w *world) machine(name string) *v1alpha1.Machine {
	m := &v1alpha1.Machine{}
	if w.Get(w.Context(), client.ObjectKey{Name: name}, m) != nil {
		return nil
	}
	return m
}

// poolCondition is one of the pool's, or an empty one.
func (w *world) poolCondition(kind string) metav1.Condition {
	p := &v1alpha1.MachinePool{}
	w.must(w.Get(w.Context(), client.ObjectKey{Name: w.pool}, p))
	if c := meta.FindStatusCondition(p.Status.Conditions, kind); c != nil {
		return *c
	}
	return metav1.Condition{}
}

func (w *world) eventually(what string, fact func() bool) {
	w.Helper()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if fact() {
			return
		}
	}
	w.Fatalf("not within a minute: %s; VMs: %v", what, w.orka.VMs())
}

// An Apple-silicon host runs two VMs. The third claim stays queued and is told why and since when;
// no VM waits for it at the cluster, and when there is room it is served.
func TestAClaimWaitsForRoom(t *testing.T) {
	w := newWorld(t, "room", 0, nil)
	claims := []*v1alpha1.MachineClaim{w.claim("a"), w.claim("b")}
	for _, c := range claims {
		w.eventually("claim "+c.Name+" is bound", func() bool { return w.bound(c) })
	}
	late := w.claim("c")
	var words string
	w.eventually("the third claim says why it waits", func() bool {
		if w.bound(late) {
			t.Fatal("a third VM on one host")
		}
		x := meta.FindStatusCondition(late.Status.Conditions, v1alpha1.ClaimConditionBound)
		if x == nil {
			return false
		}
		words = x.Message
		return strings.Contains(words, "no room") && strings.Contains(words, "; since ")
	})
	if late.Status.Phase != v1alpha1.ClaimQueued {
		t.Errorf("the third claim is %s", late.Status.Phase)
	}
	w.eventually("the pool says that there is no room", func() bool {
		c := w.poolCondition(v1alpha1.PoolCapacity)
		return c.Status == metav1.ConditionFalse && c.Reason == "NoCapacity"
	})
	if c := w.poolCondition(v1alpha1.PoolProviderHealthy); c.Status != metav1.ConditionTrue {
		t.Errorf("nothing is wrong with the provider, but: %+v", c)
	}
	w.eventually("nothing is left Pending", func() bool { return len(w.orka.VMs()) == 2 })
	w.release(claims[0])
	w.eventually("the third claim is bound", func() bool { return w.bound(late) })
}

func TestATokenThatEndsSoon(t *testing.T) {
	w := newWorld(t, "token", 3*24*time.Hour, nil)
	var c metav1.Condition
	w.eventually("the pool warns", func() bool {
		c = w.poolCondition(v1alpha1.PoolTokenValid)
		return c.Status == metav1.ConditionFalse
	})
	if c.Reason != "EndsSoon" || !strings.Contains(c.Message, time.Now().Add(3*24*time.Hour).UTC().Format("2006-01-02")) {
		t.Errorf("condition %+v", c)
	}
	all, err := metrics.Registry.Gather()
	w.must(err)
	told := false
	for _, f := range all {
		told = told || f.GetName() == "outrigger_provider_token_expires_seconds"
	}
	if !told {
		t.Error("there is no metric of the token's end")
	}
	// A new token in the Secret ends the warning.
	fresh, err := w.orka.Token(devorka.Grant{Role: "orka-dev"})
	w.must(err)
	s := &corev1.Secret{}
	w.must(w.Get(t.Context(), client.ObjectKey{Namespace: w.pool, Name: "orka-token"}, s))
	s.StringData = map[string]string{"token": fresh}
	w.must(w.Update(t.Context(), s))
	w.eventually("the pool is content", func() bool {
		return w.poolCondition(v1alpha1.PoolTokenValid).Status == metav1.ConditionTrue
	})
}

// The API is down when a machine is to go: its object says so and stays, and the VM goes when it can.
func TestAPIDownDuringDelete(t *testing.T) {
	w := newWorld(t, "down", 0, nil)
	c := w.claim("a")
	w.eventually("the claim is bound", func() bool { return w.bound(c) })
	name := c.Status.Machine
	if _, err := w.orka.Faults().Add(inject.Fault{Kind: inject.Refuse}); err != nil {
		t.Fatal(err)
	}
	w.release(c)
	w.eventually("the machine says that its deletion failed", func() bool {
		m := w.machine(name)
		if m == nil {
			t.Fatal("the object is gone, and the VM is there")
		}
		return slices.ContainsFunc(m.Status.Conditions, func(c metav1.Condition) bool { return c.Reason == "DeleteFailed" })
	})
	w.orka.Faults().Remove(0)
	w.eventually("machine and VM are gone", func() bool { return w.machine(name) == nil && len(w.orka.VMs()) == 0 })
}

func TestAVMIsDeletedBehindOurBack(t *testing.T) {
	one := int32(1)
	w := newWorld(t, "back", 0, func(p *v1alpha1.MachinePoolSpec) { p.Warm = &one })
	idle := func() string {
		var all v1alpha1.MachineList
		w.must(w.List(t.Context(), &all, client.MatchingLabels{v1alpha1.LabelPool: w.pool}))
		for _, m := range all.Items {
			if m.Status.Phase == v1alpha1.MachineIdle {
				return m.Name
			}
		}
		return ""
	}
	w.eventually("a machine is idle", func() bool { return idle() != "" })
	first := idle()
	token, err := w.orka.Token(devorka.Grant{Role: "orka-admin"})
	w.must(err)
	for _, vm := range w.orka.VMs() {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodDelete, w.orka.Endpoint()+"/api/v1/namespaces/orka-default/vms/"+vm.Name, nil)
		w.must(err)
		req.Header.Set("Authorization", "Bearer "+token)
		resp, err := http.DefaultClient.Do(req)
		w.must(err)
		resp.Body.Close()
	}
	w.eventually("another takes its place", func() bool { n := idle(); return n != "" && n != first })
	w.eventually("the first is gone", func() bool { return w.machine(first) == nil })
}

// What Orka refuses the pool says, in Orka's words.
func TestAPoolOfAnUnknownImage(t *testing.T) {
	w := newWorld(t, "image", 0, func(p *v1alpha1.MachinePoolSpec) { p.Image = "sequoia-typo" })
	w.claim("a")
	var c metav1.Condition
	w.eventually("the pool says what is wrong", func() bool {
		c = w.poolCondition(v1alpha1.PoolProviderHealthy)
		return c.Status == metav1.ConditionFalse
	})
	if c.Reason != "UnknownImage" || !strings.Contains(c.Message, "sequoia-typo") {
		t.Errorf("condition %+v", c)
	}
}

// The namespace's quota is used up by somebody else: the pool says so in Orka's words, the
// claim waits, and is served when there is room.
func TestAPoolWithoutQuota(t *testing.T) {
	w := newWorld(t, "quota", 0, nil)
	w.orka.Operator().SetQuota("orka-default", 0)
	c := w.claim("a")
	w.eventually("the pool says what is wrong", func() bool {
		x := w.poolCondition(v1alpha1.PoolProviderHealthy)
		return x.Status == metav1.ConditionFalse && x.Reason == "ProviderRefused" && strings.Contains(x.Message, "exceeded quota")
	})
	w.eventually("the claim says it too", func() bool {
		if w.bound(c) {
			t.Fatal("it is bound")
		}
		x := meta.FindStatusCondition(c.Status.Conditions, v1alpha1.ClaimConditionBound)
		return x != nil && strings.Contains(x.Message, "exceeded quota")
	})
	w.orka.Operator().SetQuota("orka-default", -1)
	w.eventually("the claim is bound", func() bool { return w.bound(c) })
	w.eventually("the pool is content", func() bool {
		return w.poolCondition(v1alpha1.PoolProviderHealthy).Status == metav1.ConditionTrue
	})
}

// The cluster's clock is ten days behind: a token that is good for ten days is not taken for one that
// has ended, and machines come and go.
func TestAPoolWhoseClockDiffers(t *testing.T) {
	const days = 24 * time.Hour
	w := newWorldOf(t, devorka.Config{Ahead: -10 * days}, "clock", 10*days, nil)
	c := w.claim("a")
	w.eventually("the claim is bound", func() bool { return w.bound(c) })
	w.eventually("the pool is content with the token", func() bool {
		return w.poolCondition(v1alpha1.PoolTokenValid).Status == metav1.ConditionTrue
	})
	w.release(c)
	w.eventually("the VM is gone", func() bool { return len(w.orka.VMs()) == 0 })
}
