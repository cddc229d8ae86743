package pools

import (
	"reflect"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/resourceversion"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// recent holds objects as this process wrote them, until the cache has them:
// who decides again before that must not decide from what was before.
type recent[T client.Object] struct {
	synced func() string // the resource version that the cache has come to

	mu      sync.Mutex
	objects map[string]written[T]
}

type written[T client.Object] struct {
	object T
	at     time.Time
}

// An object that the cache does not have was just made, or is gone. It is gone if the
// cache has come past its version; what the cache has come to is told a
// moment before it can be read there.
const (
	moment    = time.Second
	unseenFor = time.Minute // however it stands
)

func newRecent[T client.Object](synced func() string) *recent[T] {
	return &recent[T]{synced: synced, objects: map[string]written[T]{}}
}

func key(o client.Object) string {
	if o.GetNamespace() == "" {
		return o.GetName()
	}
	return o.GetNamespace() + "/" + o.GetName()
}

// wrote notes an object as the API server answered it. It is not changed any more.
func (r *recent[T]) wrote(o T) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if old, ok := r.objects[key(o)]; ok && later(old.object, o) {
		return // another worker wrote after us
	}
	r.objects[key(o)] = written[T]{o, time.Now()}
}

// newer returns the newer of what the cache has, which may be nil, and what was written.
func (r *recent[T]) newer(key string, cached T) T {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.pick(key, cached)
}

// newest does the same for many, in place.
func (r *recent[T]) newest(cached []T) []T {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.objects) == 0 {
		return cached
	}
	for i, o := range cached {
		cached[i] = r.pick(key(o), o)
	}
	return cached
}

func (r *recent[T]) pick(key string, cached T) T {
	w, ok := r.objects[key]
	switch {
	case !ok:
		return cached
	case isNil(cached):
		past := older(w.object.GetResourceVersion(), r.synced())
		if age := time.Since(w.at); age < moment || age < unseenFor && !past {
			return w.object
		}
	case later(w.object, cached):
		return w.object
	}
	delete(r.objects, key)
	return cached
}

// unseen returns those that the cache does not have at all.
func (r *recent[T]) unseen(cached toolscache.Store) []T {
	r.mu.Lock()
	defer r.mu.Unlock()
	var all []T
	for key := range r.objects {
		if _, has, err := cached.GetByKey(key); err == nil && !has {
			var none T
			if o := r.pick(key, none); !isNil(o) {
				all = append(all, o)
			}
		}
	}
	return all
}

// deleted is told by the cache that an object is gone.
func (r *recent[T]) deleted(obj any) {
	if last, ok := obj.(toolscache.DeletedFinalStateUnknown); ok {
		obj = last.Obj
	}
	if o, ok := obj.(T); ok {
		r.forget(key(o), o.GetUID())
	}
}

func (r *recent[T]) forget(key string, uid types.UID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if w, ok := r.objects[key]; ok && w.object.GetUID() == uid {
		delete(r.objects, key)
	}
}

// later tells whether a was written after b.
func later(a, b client.Object) bool { return older(b.GetResourceVersion(), a.GetResourceVersion()) }

func older(version, than string) bool {
	order, err := resourceversion.CompareResourceVersion(version, than)
	return err == nil && order < 0
}

func isNil[T client.Object](o T) bool { return reflect.ValueOf(&o).Elem().IsNil() }
