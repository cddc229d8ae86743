package store

import (
	"context"
	"errors"
	"strconv"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// An EventType is what happened to an object.
type EventType string

// The types, in the words of the Kubernetes API.
const (
	Added    EventType = "ADDED"
	Modified EventType = "MODIFIED"
	Deleted  EventType = "DELETED"
)

// An Event is one change.
type Event struct {
	Type    EventType
	Kind    *Kind
	Object  *Object
	Old     *Object // before the change; nil if there was none
	version uint64
}

// ErrClosed ends a watch that the server ended.
var ErrClosed = errors.New("watch closed")

// A Watch hands out changes in their order.
type Watch struct {
	// Initial is how many changes it begins with that are what there was, and
	// Version the number of the last change before those that come after them.
	Initial int
	Version string

	s         *Store
	kind      *Kind
	namespace string

	mu     sync.Mutex
	queue  []Event
	more   chan struct{} // holds one when there is something new
	closed bool
}

// Watch watches the objects of a namespace, of all for "". With since "" or "0" it
// begins with what there is, as Added; else with the first change after it. Changes
// that are forgotten give an Expired error.
func (s *Store) Watch(k *Kind, namespace, since string) (*Watch, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	w := &Watch{s: s, kind: k, namespace: namespace, more: make(chan struct{}, 1)}
	if since == "" || since == "0" {
		for _, o := range s.list(k, namespace) {
			w.offer(Event{Type: Added, Kind: k, Object: o})
		}
		w.Initial = len(w.queue)
	} else {
		v, err := strconv.ParseUint(since, 10, 64)
		if err != nil {
			return nil, apierrors.NewBadRequest("Invalid value: \"" + since + "\": must be a resource version")
		}
		if v < s.oldest {
			return nil, apierrors.NewResourceExpired("too old resource version: " + since + " (" + strconv.FormatUint(s.oldest, 10) + ")")
		}
		for _, e := range s.history {
			if e.version > v {
				w.offer(e)
			}
		}
	}
	s.watchers[w] = true
	w.Version = strconv.FormatUint(s.version, 10)
	return w, nil
}

func (w *Watch) offer(e Event) {
	if e.Kind != w.kind || (w.namespace != "" && e.Object.Namespace != w.namespace) {
		return
	}
	w.mu.Lock()
	w.queue = append(w.queue, e)
	w.mu.Unlock()
	w.wake()
}

func (w *Watch) wake() {
	select {
	case w.more <- struct{}{}:
	default:
	}
}

// Next waits for the next change.
func (w *Watch) Next(ctx context.Context) (Event, error) {
	for {
		w.mu.Lock()
		if w.closed {
			w.mu.Unlock()
			return Event{}, ErrClosed
		}
		if len(w.queue) > 0 {
			e := w.queue[0]
			w.queue = w.queue[1:]
			w.mu.Unlock()
			return e, nil
		}
		w.mu.Unlock()
		select {
		case <-w.more:
		case <-ctx.Done():
			return Event{}, context.Cause(ctx)
		}
	}
}

// Pending is how many changes wait to be fetched.
func (w *Watch) Pending() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.queue)
}

// Close ends the watch.
func (w *Watch) Close() {
	w.s.mu.Lock()
	delete(w.s.watchers, w)
	w.s.mu.Unlock()
	w.mu.Lock()
	w.closed = true
	w.mu.Unlock()
	w.wake()
}

// Forget makes every number up to now too old to watch from, as a restart does.
func (s *Store) Forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.version++
	s.history, s.oldest = nil, s.version
}
