//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/cache"
	ctrlcache "sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"outrigger.dev/outrigger/api/v1alpha1"
	"outrigger.dev/outrigger/test/apiserver"
	"outrigger.dev/outrigger/test/cloud"
)

const (
	busy = "busy" // the pool whose machines are all in use, with the queue
	warm = "warm" // the pool that has free machines
)

// A bench watches all claims and knows when each was bound.
type bench struct {
	server *apiserver.Server
	client client.Client
	cloud  *cloud.Cloud

	mu     sync.Mutex
	bound  map[string]time.Time // claim -> when the watch said so
	who    map[string]string    // machine -> claim that has it
	signal chan struct{}        // something was bound
}

func newBench(ctx context.Context, server *apiserver.Server, dir string) (*bench, error) {
	b := &bench{server: server, cloud: &cloud.Cloud{Dir: filepath.Join(dir, "cloud")}, bound: map[string]time.Time{}, who: map[string]string{}, signal: make(chan struct{}, 1)}
	var err error
	if b.client, err = client.New(server.Config(), client.Options{Scheme: server.Scheme()}); err != nil {
		return nil, err
	}
	if err := errors.Join(os.MkdirAll(b.cloud.Dir, 0o755), b.cloud.Init()); err != nil {
		return nil, err
	}
	caches, err := ctrlcache.New(server.Config(), ctrlcache.Options{Scheme: server.Scheme()})
	if err != nil {
		return nil, err
	}
	informer, err := caches.GetInformer(ctx, &v1alpha1.MachineClaim{}, ctrlcache.BlockUntilSynced(false))
	if err != nil {
		return nil, err
	}
	_, err = informer.AddEventHandler(cache.ResourceEventHandlerFuncs{UpdateFunc: func(_, obj any) {
		if c, ok := obj.(*v1alpha1.MachineClaim); ok && c.Status.Phase == v1alpha1.ClaimBound {
			b.note(c)
		}
	}})
	if err != nil {
		return nil, err
	}
	go func() { _ = caches.Start(ctx) }() // it ends with ctx
	return b, nil
}

func (b *bench) note(c *v1alpha1.MachineClaim) {
	b.mu.Lock()
	if _, known := b.bound[c.Name]; !known {
		b.bound[c.Name], b.who[c.Status.Machine] = time.Now(), c.Name
	}
	b.mu.Unlock()
	select {
	case b.signal <- struct{}{}:
	default:
	}
}

// until waits for a fact about what was bound.
func (b *bench) until(ctx context.Context, fact func() bool) error {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		b.mu.Lock()
		ok := fact()
		b.mu.Unlock()
		if ok {
			return nil
		}
		select {
		case <-b.signal:
		case <-tick.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func (b *bench) setUp(ctx context.Context) error {
	for i := range 10 {
		if err := b.client.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprint("team-", i)}}); err != nil {
			return err
		}
	}
	free := *machines / 10
	for name, n := range map[string]int{busy: *machines - free, warm: free} {
		idle := int32(0)
		if name == warm {
			idle = int32(n)
		}
		p := &v1alpha1.MachinePool{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: v1alpha1.MachinePoolSpec{
			OS: "darwin", Arch: "arm64", Provider: v1alpha1.ProviderSpec{Local: &v1alpha1.LocalProvider{}},
			Warm: &idle, Max: int32(n), MaxCreating: 50, Reuse: &v1alpha1.ReuseSpec{Policy: v1alpha1.ReuseClean},
		}}
		if err := b.client.Create(ctx, p); err != nil {
			return err
		}
	}
	return nil
}

// claim makes a claim. Ten namespaces take turns.
func (b *bench) claim(ctx context.Context, pool string, n int) error {
	return b.client.Create(ctx, &v1alpha1.MachineClaim{
		ObjectMeta: metav1.ObjectMeta{Namespace: fmt.Sprint("team-", n%10), Name: claimName(pool, n)},
		Spec:       v1alpha1.MachineClaimSpec{Pool: pool}, // nobody that the controller looks after holds it
	})
}

func claimName(pool string, n int) string { return fmt.Sprintf("%s-%05d", pool, n) }

// end says that a claim's Pod has ended.
func (b *bench) end(ctx context.Context, name string, n int) error {
	for {
		var c v1alpha1.MachineClaim
		if err := b.client.Get(ctx, client.ObjectKey{Namespace: fmt.Sprint("team-", n%10), Name: name}, &c); err != nil {
			return err
		}
		now := metav1.Now()
		c.Status.Phase, c.Status.ReleasedAt = v1alpha1.ClaimReleased, &now
		err := b.client.Status().Update(ctx, &c)
		if err == nil || client.IgnoreNotFound(err) == nil {
			return err
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
}

// fill makes the queue: as many claims as machines of the busy pool, and those that wait.
func (b *bench) fill(ctx context.Context) (last int, err error) {
	leased := *machines - *machines/10
	total := leased + *queued
	var g errgroup.Group
	g.SetLimit(16)
	for n := range total {
		g.Go(func() error { return b.claim(ctx, busy, n) })
	}
	if err := g.Wait(); err != nil {
		return 0, err
	}
	return total, b.until(ctx, func() bool { return len(b.bound) >= leased })
}

func (b *bench) idle(ctx context.Context, pool string) (int, error) {
	var p v1alpha1.MachinePool
	err := b.client.Get(ctx, client.ObjectKey{Name: pool}, &p)
	return int(p.Status.Idle), err
}
