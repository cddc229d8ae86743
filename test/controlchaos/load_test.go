//go:build linux

package controlchaos

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"outrigger.dev/outrigger/api/v1alpha1"
	"outrigger.dev/outrigger/test/apiserver"
	"outrigger.dev/outrigger/test/cloud"
)

// A load is people who want machines of two pools: one whose machines serve once, and one
// whose machines are reused.
type load struct {
	*testing.T
	client.Client
	server *apiserver.Server
	cloud  *cloud.Cloud
	setup  setup
	seed   uint64 // of what people do

	served  atomic.Int64
	claims  atomic.Int64
	enough  atomic.Bool // nobody asks for more
	waiting sync.Map    // names of claims that are not served yet
	wg      sync.WaitGroup
}

const (
	maxEach    = 10 // machines of each of two pools
	people     = 24
	namespaces = 4
)

func newLoad(t *testing.T, f cloud.Faults, seed uint64) *load {
	t.Helper()
	l := &load{T: t, server: apiserver.Start(t), cloud: &cloud.Cloud{Dir: t.TempDir()}, seed: seed}
	l.must(l.cloud.Init())
	var err error
	l.Client, err = client.New(l.server.Config(), client.Options{Scheme: l.server.Scheme()})
	l.must(err)
	l.setup = setup{Kubeconfig: l.server.Kubeconfig(), Cloud: l.cloud.Dir, Faults: f}
	warm := int32(3)
	for name, policy := range map[string]v1alpha1.ReusePolicy{"once": v1alpha1.ReuseNever, "again": v1alpha1.ReuseClean} {
		l.must(l.Create(t.Context(), &v1alpha1.MachinePool{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: v1alpha1.MachinePoolSpec{
			OS: "linux", Arch: "amd64", Provider: v1alpha1.ProviderSpec{Local: &v1alpha1.LocalProvider{}},
			Warm: &warm, Max: maxEach, Reuse: &v1alpha1.ReuseSpec{Policy: policy, MaxUses: 7},
		}}))
	}
	for i := range namespaces {
		l.must(l.Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprint("team-", i)}}))
	}
	return l
}

func (l *load) must(err error) {
	l.Helper()
	if err != nil {
		l.Fatal(err)
	}
}

// begin lets everybody ask for machines, one after the other, until enough.
func (l *load) begin() {
	for i := range people {
		l.wg.Go(func() {
			rnd := rand.New(rand.NewPCG(l.seed, uint64(2+i)))
			for !l.enough.Load() {
				l.useOne(i, rnd)
			}
		})
	}
	l.wg.Go(l.watchMax)
}

// useOne asks for a machine, uses it and gives it back, as a Pod and its controller do.
func (l *load) useOne(i int, rnd *rand.Rand) {
	ctx := l.Context()
	c := &v1alpha1.MachineClaim{
		ObjectMeta: metav1.ObjectMeta{Namespace: fmt.Sprint("team-", i%namespaces), Name: fmt.Sprintf("claim-%d", l.claims.Add(1))},
		Spec:       v1alpha1.MachineClaimSpec{Pool: []string{"once", "again"}[i%2], Priority: int32(i % 3)},
	}
	if rnd.IntN(10) == 0 {
		c.Spec.Image = "own"
	}
	if !l.patiently("create", func() error {
		err := l.Create(ctx, c)
		if apierrors.IsAlreadyExists(err) { // the answer was lost
			return l.Get(ctx, client.ObjectKeyFromObject(c), c)
		}
		return err
	}) {
		return
	}
	l.waiting.Store(c.Name, c.Spec.Pool)
	if !l.patiently("bound", func() error {
		if err := l.Get(ctx, client.ObjectKeyFromObject(c), c); err != nil {
			return err
		}
		if c.Status.Phase != v1alpha1.ClaimBound {
			return errNotYet
		}
		return nil
	}) {
		return
	}
	end := l.cloud.Use(c.Status.Machine, c.Name)
	time.Sleep(time.Duration(rnd.IntN(200)) * time.Millisecond) // the use itself
	end()
	l.waiting.Delete(c.Name)
	l.served.Add(1)
	l.patiently("released", func() error {
		if err := l.Get(ctx, client.ObjectKeyFromObject(c), c); err != nil {
			return err
		}
		now := metav1.Now()
		c.Status.Phase, c.Status.ReleasedAt = v1alpha1.ClaimReleased, &now
		return l.Status().Update(ctx, c)
	})
	if rnd.IntN(2) == 0 { // else its objects stay, as those of Pods that have ended
		l.patiently("deleted", func() error { return client.IgnoreNotFound(l.Delete(ctx, c)) })
	}
}

var errNotYet = fmt.Errorf("not yet")

// patiently tries until it works; the API server may be away meanwhile.
func (l *load) patiently(what string, f func() error) bool {
	for deadline := time.Now().Add(3 * time.Minute); ; time.Sleep(10 * time.Millisecond) {
		err := f()
		if err == nil {
			return true
		}
		if l.Context().Err() != nil {
			return false
		}
		if time.Now().After(deadline) {
			l.Errorf("%s: not in 3 minutes: %v", what, err)
			return false
		}
	}
}

// watchMax looks for more machines than there may be.
func (l *load) watchMax() {
	for !l.enough.Load() {
		count := map[string]int{}
		for _, name := range l.cloud.Names() {
			pool, _, _ := strings.Cut(name, "-")
			count[pool]++
		}
		for pool, n := range count {
			if n > maxEach {
				l.Errorf("pool %s has %d machines, max is %d", pool, n, maxEach)
			}
		}
		time.Sleep(20 * time.Millisecond) // between two looks
	}
}

// finish lets everybody end, deletes the pools, and looks for what is left.
func (l *load) finish() {
	l.Helper()
	l.enough.Store(true)
	l.wg.Wait()
	l.waiting.Range(func(name, pool any) bool {
		l.Errorf("claim %v of pool %v was not served", name, pool)
		return true
	})
	for _, v := range l.cloud.Violations() {
		l.Errorf("violation: %s", v)
	}
	for _, name := range []string{"once", "again"} {
		l.must(l.Delete(l.Context(), &v1alpha1.MachinePool{ObjectMeta: metav1.ObjectMeta{Name: name}}))
	}
	l.patiently("pools deleted", func() error {
		var left v1alpha1.MachinePoolList
		if err := l.List(l.Context(), &left); err != nil {
			return err
		}
		if n := len(left.Items); n > 0 {
			return fmt.Errorf("%d pools", n)
		}
		return nil
	})
	var objects v1alpha1.MachineList
	l.must(l.List(l.Context(), &objects))
	if len(objects.Items) > 0 || l.cloud.Count() > 0 {
		l.Errorf("leaked: %d objects, machines %v", len(objects.Items), l.cloud.Names())
	}
	l.Logf("%d claims, %d served, %d violations", l.claims.Load(), l.served.Load(), len(l.cloud.Violations()))
	if l.Failed() || testing.Verbose() {
		keep := filepath.Join(os.TempDir(), "outrigger-chaos-"+strings.ReplaceAll(l.Name(), "/", "-")+".log")
		if data, err := os.ReadFile(filepath.Join(l.cloud.Dir, "controller.log")); err == nil && os.WriteFile(keep, data, 0o600) == nil {
			l.Logf("the controllers' log is kept: %s", keep)
		}
	}
}
