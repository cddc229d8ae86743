//go:build linux

package main

import (
	"context"
	"sync"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"

	"outrigger.dev/outrigger/test/e2e/user"
)

// A watcher has the events of several kinds in one channel.
type watcher struct {
	events chan watch.Event
	all    []watch.Interface
	done   sync.WaitGroup
}

func watchAll(ctx context.Context, n *user.Namespace) (*watcher, error) {
	w := &watcher{events: make(chan watch.Event, 100)}
	for _, kind := range []string{"Pod", "tekton.dev/TaskRun", "outrigger.dev/MachineClaim"} {
		resource, err := n.Resource(kind, n.Name)
		if err != nil {
			w.stop()
			return nil, err
		}
		events, err := resource.Watch(ctx, metav1.ListOptions{})
		if err != nil {
			w.stop()
			return nil, err
		}
		w.all = append(w.all, events)
		w.done.Go(func() {
			for e := range events.ResultChan() {
				select {
				case w.events <- e:
				case <-ctx.Done():
				}
			}
		})
	}
	return w, nil
}

// stop ends the watches. What they still have is not read any more.
func (w *watcher) stop() {
	for _, events := range w.all {
		events.Stop()
	}
	go func() {
		for range w.events { // drained, so that no watch hangs on it
		}
	}()
	w.done.Wait()
	close(w.events)
}
