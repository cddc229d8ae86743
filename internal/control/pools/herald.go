package pools

import (
	"context"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"outrigger.dev/outrigger/api/v1alpha1"
	"outrigger.dev/outrigger/internal/pool"
)

// A herald writes what people read and nothing depends on: the counts and
// conditions of pools, and where claims stand in the queue. It writes at most once in a
// while, and only what has changed notably, because with 5,000 claims in a queue each
// binding changes 5,000 positions.
type herald struct {
	*core

	mu         sync.Mutex
	news       map[string]report // by pool
	said       map[types.UID]saying
	dirtyPools map[string]bool
}

// A report is a decision as it was made.
type report struct {
	claims []*v1alpha1.MachineClaim
	queue  []pool.Waiting
}

// A saying is what a claim was told last, and when.
type saying struct {
	at     time.Time
	reason string
}

// perRound is how many claims are told in one round: at 8 ms for a write and
// `writes` at a time, a tenth of a second.
const perRound = 200

func newHerald(c *core) *herald {
	return &herald{core: c, news: map[string]report{}, said: map[types.UID]saying{}, dirtyPools: map[string]bool{}}
}

// tell takes what was decided. What is bound, made and deleted shows by itself.
func (h *herald) tell(p *v1alpha1.MachinePool, _ pool.Snapshot, claims []*v1alpha1.MachineClaim, d pool.Decision) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.news[p.Name] = report{claims, d.Queue}
	h.dirtyPools[p.Name] = true
}

// noPool tells claims that their pool does not exist.
func (h *herald) noPool(name string, claims []*v1alpha1.MachineClaim) {
	h.mu.Lock()
	defer h.mu.Unlock()
	r := report{}
	for _, c := range claims {
		if isQueued(c) {
			r.queue = append(r.queue, pool.Waiting{Claim: len(r.claims), Reason: "PoolNotFound", Message: "there is no MachinePool " + name})
			r.claims = append(r.claims, c)
		}
	}
	h.news[name] = r
	h.dirtyPools[name] = true
}

// dirty asks to look at a pool's status.
func (h *herald) dirty(pool string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.dirtyPools[pool] = true
}

// Start implements manager.Runnable, for the leader alone.
func (h *herald) Start(ctx context.Context) error {
	tick := time.NewTicker(h.Times.Herald)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		h.mu.Lock()
		todo := h.dirtyPools
		h.dirtyPools = map[string]bool{}
		reports := make(map[string]report, len(todo))
		for name := range todo {
			reports[name] = h.news[name]
		}
		h.mu.Unlock()
		for name, r := range reports {
			h.round(ctx, name, r)
		}
	}
}

// round writes one pool's news.
func (h *herald) round(ctx context.Context, name string, r report) {
	rest, err := h.tellClaims(ctx, r)
	if p := h.view.pool(name); p != nil {
		if e := h.tellPool(ctx, p); err == nil {
			err = e
		}
	} else if h.meters.forget(name); len(r.claims) == 0 {
		h.mu.Lock()
		delete(h.news, name)
		h.mu.Unlock()
	}
	if err != nil && !apierrors.IsConflict(err) && !apierrors.IsNotFound(err) && ctx.Err() == nil {
		h.Log.Warn("status", "pool", name, "error", err)
	}
	if rest || err != nil {
		h.dirty(name)
	}
}

// tellClaims writes to the claims that must know, at most perRound of them, and tells
// whether there are more.
func (h *herald) tellClaims(ctx context.Context, r report) (rest bool, err error) {
	var g errgroup.Group
	g.SetLimit(writes)
	told := 0
	waiting := make(map[types.UID]bool, len(r.queue))
	now := h.now()
	for _, w := range r.queue {
		old := r.claims[w.Claim]
		waiting[old.UID] = true
		c := h.view.claim(old.Namespace, old.Name)
		if c == nil || c.UID != old.UID || !isQueued(c) {
			continue
		}
		h.mu.Lock()
		before := h.said[c.UID]
		h.mu.Unlock()
		change, due := notable(c, w, now.Sub(before.at))
		rest = rest || change && !due
		if !due {
			continue
		}
		if told++; told > perRound {
			return true, g.Wait()
		}
		g.Go(func() error { return h.tellClaim(ctx, c, w, len(r.queue), before) })
	}
	err = g.Wait()
	h.forget(waiting)
	return rest, err
}

// forget drops what was said to claims that wait no longer.
func (h *herald) forget(waiting map[types.UID]bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.said) < 2*len(waiting)+perRound {
		return // not worth a walk
	}
	all := map[types.UID]bool{}
	for _, other := range h.news {
		for _, w := range other.queue {
			all[other.claims[w.Claim].UID] = true
		}
	}
	for uid := range h.said {
		if !all[uid] {
			delete(h.said, uid)
		}
	}
}

func (h *herald) tellClaim(ctx context.Context, c *v1alpha1.MachineClaim, w pool.Waiting, of int, before saying) error {
	c = c.DeepCopy()
	describe(c, w)
	if err := h.client.Status().Update(ctx, c); err != nil {
		if apierrors.IsConflict(err) || apierrors.IsNotFound(err) {
			return nil // bound or gone meanwhile, or told again next time
		}
		return err
	}
	h.view.wroteClaims.wrote(c)
	h.mu.Lock()
	h.said[c.UID] = saying{h.now(), string(w.Reason)}
	h.mu.Unlock()
	if before.reason != string(w.Reason) {
		h.onClaim(c, normal, "Waiting", waitingNote(c, w, of))
	}
	return nil
}

func (h *herald) tellPool(ctx context.Context, p *v1alpha1.MachinePool) error {
	machines, _ := h.view.machinesOf(p.Name)
	queued := 0
	for _, c := range h.view.claimsOf(p.Name) {
		if isQueued(c) {
			queued++
		}
	}
	h.meters.counts(p.Name, machines, queued)
	h.meters.health(p.Name, h.illOf(p), h.held(p) != "")
	h.meters.token(p.Name, h.stats.tokenEnd(p))
	desired := p.DeepCopy()
	h.poolStatus(desired, machines, queued)
	if sameStatus(p, desired) {
		return nil
	}
	if err := h.client.Status().Update(ctx, desired); err != nil {
		return client.IgnoreNotFound(err)
	}
	h.tellHealth(p, desired)
	return nil
}

// tellHealth says when the replacement of machines that look ill stops, and when it goes on.
func (h *herald) tellHealth(before, after *v1alpha1.MachinePool) {
	was := meta.FindStatusCondition(before.Status.Conditions, v1alpha1.PoolMachinesHealthy)
	is := meta.FindStatusCondition(after.Status.Conditions, v1alpha1.PoolMachinesHealthy)
	stopped := was != nil && was.Reason == reasonHeld
	switch {
	case is.Reason == reasonHeld && !stopped:
		h.event(after, warning, reasonHeld, is.Message)
	case is.Reason != reasonHeld && stopped:
		h.event(after, normal, "ReplacementGoesOn", "fewer machines look ill, and nothing points to an outage")
	}
}
