package pools

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"outrigger.dev/outrigger/api/v1alpha1"
)

// The indices of the caches.
const (
	byPool  = "pool"
	byClaim = "claim" // machines by the UID of the claim that has them
)

// A view reads the caches, corrected by what this process has just written. It
// copies nothing: what it returns must not be changed.
type view struct {
	pools, machines, claims, images toolscache.SharedIndexInformer

	wroteMachines *recent[*v1alpha1.Machine]
	wroteClaims   *recent[*v1alpha1.MachineClaim]

	mu     sync.Mutex
	caught bool
}

func newView(ctx context.Context, caches cache.Cache) (*view, error) {
	v := &view{}
	for _, one := range []struct {
		into     *toolscache.SharedIndexInformer
		object   client.Object
		indexers toolscache.Indexers
	}{
		{&v.pools, &v1alpha1.MachinePool{}, nil},
		{&v.machines, &v1alpha1.Machine{}, toolscache.Indexers{byPool: keys(poolOfMachine), byClaim: keys(claimOfMachine)}},
		{&v.claims, &v1alpha1.MachineClaim{}, toolscache.Indexers{byPool: keys(poolOfClaim)}},
		{&v.images, &v1alpha1.MachineImage{}, nil},
	} {
		informer, err := caches.GetInformer(ctx, one.object, cache.BlockUntilSynced(false))
		if err != nil {
			return nil, err
		}
		shared, ok := informer.(toolscache.SharedIndexInformer)
		if !ok {
			return nil, fmt.Errorf("the cache of %T is a %T, which has no index", one.object, informer)
		}
		if err := shared.AddIndexers(one.indexers); err != nil {
			return nil, err
		}
		*one.into = shared
	}
	v.wroteMachines = newRecent[*v1alpha1.Machine](v.machines.LastSyncResourceVersion)
	v.wroteClaims = newRecent[*v1alpha1.MachineClaim](v.claims.LastSyncResourceVersion)
	_, err := v.machines.AddEventHandler(toolscache.ResourceEventHandlerFuncs{DeleteFunc: v.wroteMachines.deleted})
	if err != nil {
		return nil, err
	}
	_, err = v.claims.AddEventHandler(toolscache.ResourceEventHandlerFuncs{DeleteFunc: v.wroteClaims.deleted})
	return v, err
}

// catchUp reads once, at the start of this process's leadership, what the API server really
// has: a cache may begin with a state from before the last leader's last writes.
func (v *view) catchUp(ctx context.Context, live client.Reader) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.caught {
		return nil
	}
	var machines v1alpha1.MachineList
	var claims v1alpha1.MachineClaimList
	if err := errors.Join(live.List(ctx, &machines), live.List(ctx, &claims)); err != nil {
		return err
	}
	for i := range machines.Items {
		v.wroteMachines.wrote(&machines.Items[i])
	}
	for i := range claims.Items {
		v.wroteClaims.wrote(&claims.Items[i])
	}
	v.caught = true
	return nil
}

func keys[T any](f func(T) string) toolscache.IndexFunc {
	return func(obj any) ([]string, error) {
		if t, ok := obj.(T); ok {
			if key := f(t); key != "" {
				return []string{key}, nil
			}
		}
		return nil, nil
	}
}

func poolOfMachine(m *v1alpha1.Machine) string    { return m.Spec.Pool }
func poolOfClaim(c *v1alpha1.MachineClaim) string { return c.Spec.Pool }
func claimOfMachine(m *v1alpha1.Machine) string {
	if m.Spec.Claim == nil {
		return ""
	}
	return m.Spec.Claim.UID
}

// pool returns the pool, or nil.
func (v *view) pool(name string) *v1alpha1.MachinePool {
	return get[*v1alpha1.MachinePool](v.pools, name)
}

// machine returns the machine as last known, or nil.
func (v *view) machine(name string) *v1alpha1.Machine {
	return v.wroteMachines.newer(name, get[*v1alpha1.Machine](v.machines, name))
}

// claim returns the claim as last known, or nil.
func (v *view) claim(namespace, name string) *v1alpha1.MachineClaim {
	key := namespace + "/" + name
	return v.wroteClaims.newer(key, get[*v1alpha1.MachineClaim](v.claims, key))
}

// seesClaim tells whether the cache has the claim: then its end will be heard of.
func (v *view) seesClaim(namespace, name string) bool {
	return get[*v1alpha1.MachineClaim](v.claims, namespace+"/"+name) != nil
}

// machinesOf returns the pool's machines, in the order of their names, and whether
// the cache does not have all of them. One that it does not have was just made,
// as a rule; or it is gone, and then nobody may say so any more.
func (v *view) machinesOf(pool string) (all []*v1alpha1.Machine, ahead bool) {
	all = list(v.machines, byPool, pool, v.wroteMachines)
	for _, m := range v.wroteMachines.unseen(v.machines.GetIndexer()) {
		if m.Spec.Pool == pool {
			all, ahead = append(all, m), true
		}
	}
	slices.SortFunc(all, func(a, b *v1alpha1.Machine) int { return strings.Compare(a.Name, b.Name) })
	return all, ahead
}

// claimsOf returns the claims on a pool.
func (v *view) claimsOf(pool string) []*v1alpha1.MachineClaim {
	return list(v.claims, byPool, pool, v.wroteClaims)
}

// poolNames returns those of all pools.
func (v *view) poolNames() []string { return v.pools.GetIndexer().ListKeys() }

func get[T client.Object](informer toolscache.SharedIndexInformer, key string) T {
	var none T
	obj, ok, err := informer.GetIndexer().GetByKey(key)
	if err != nil || !ok {
		return none // the store in memory has no errors of its own
	}
	t, _ := obj.(T)
	return t
}

func list[T client.Object](informer toolscache.SharedIndexInformer, index, key string, wrote *recent[T]) []T {
	found, err := informer.GetIndexer().ByIndex(index, key)
	if err != nil {
		return nil // only an index that was not made: newView makes them
	}
	all := make([]T, 0, len(found))
	for _, obj := range found {
		if t, ok := obj.(T); ok {
			all = append(all, t)
		}
	}
	return wrote.newest(all)
}
