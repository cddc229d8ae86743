//go:build linux

package images_test

import (
	"context"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"outrigger.dev/outrigger/api/v1alpha1"
)

// serves tells whether a machine is there for claims: idle, or with one.
func serves(m *v1alpha1.Machine) bool {
	return m.DeletionTimestamp.IsZero() && (m.Status.Phase == v1alpha1.MachineIdle || m.Status.Phase == v1alpha1.MachineLeased)
}

// least follows every change of the pool's machines, in the order in which they were written, until stop is
// called, and returns how few served at any moment.
func (w *world) least() (stop func() int) {
	w.Helper()
	var all v1alpha1.MachineList
	mine := client.MatchingLabels{v1alpha1.LabelPool: w.name}
	w.must(w.List(w.Context(), &all, mine))
	there := map[string]bool{}
	for i := range all.Items {
		if serves(&all.Items[i]) {
			there[all.Items[i].Name] = true
		}
	}
	ctx, cancel := context.WithCancel(w.Context())
	changes, err := w.Watch(ctx, &v1alpha1.MachineList{}, mine, &client.ListOptions{Raw: &metav1.ListOptions{ResourceVersion: all.ResourceVersion}})
	w.must(err)
	few := make(chan int)
	go func() {
		least := len(there)
		for e := range changes.ResultChan() {
			m, ok := e.Object.(*v1alpha1.Machine)
			if !ok {
				continue
			}
			delete(there, m.Name)
			if e.Type != watch.Deleted && serves(m) {
				there[m.Name] = true
			}
			least = min(least, len(there))
		}
		few <- least
	}()
	return func() int {
		cancel()
		changes.Stop()
		return <-few
	}
}

// rolled has the pool go over to another image, and returns how few machines served meanwhile.
func (w *world) rolled(warm, most int32, busy int) int {
	w.Helper()
	w.control()
	w.makePool(warm, most, nil)
	w.makeImage("echo one", nil)
	first := w.becomes(metav1.ConditionTrue, "Built").Status.Image
	w.eventually("the pool is warm, and the build's machine gone", func() bool {
		return w.idleOf(first) == int(warm) && len(w.machines()) == int(warm)
	})
	w.must(w.Create(w.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: w.name}}))
	for n := range busy {
		c := &v1alpha1.MachineClaim{
			ObjectMeta: metav1.ObjectMeta{Namespace: w.name, Name: "job-" + string(rune('a'+n))}, Spec: v1alpha1.MachineClaimSpec{Pool: w.name},
		}
		w.must(w.Create(w.Context(), c))
		w.eventually("claim "+c.Name+" is bound", func() bool {
			w.must(w.Get(w.Context(), client.ObjectKeyFromObject(c), c))
			return c.Status.Phase == v1alpha1.ClaimBound
		})
	}
	w.eventually("it is warm again", func() bool { return w.idleOf(first) == min(int(warm), int(most)-busy) && w.claim() == nil })
	stop := w.least()
	w.script("echo two")
	w.eventually("all that are idle are of the next image", func() bool {
		i := w.image().Status.Image
		return i != first && w.idleOf(i) == min(int(warm), int(most)-busy) && w.idleOf(first) == 0 && len(w.machines()) == w.idleOf(i)+busy
	})
	return stop()
}

// With room for one machine more, never fewer serve than before, the build's own machine included.
func TestAPoolRollsWithoutAGap(t *testing.T) {
	t.Run("all idle", func(t *testing.T) {
		if got := newWorld(t).rolled(3, 4, 0); got < 3 {
			t.Errorf("only %d machines served at some moment; want 3 always", got)
		}
	})
	t.Run("some in use", func(t *testing.T) {
		if got := newWorld(t).rolled(3, 6, 2); got < 5 {
			t.Errorf("only %d machines served at some moment; want 5 always", got)
		}
	})
}

// A full pool has no room: the build takes one machine's place, and then one after the other is replaced.
func TestAFullPoolRollsOneByOne(t *testing.T) {
	if got := newWorld(t).rolled(3, 3, 0); got != 2 {
		t.Errorf("%d machines served at the worst moment; want 2: one is missing at a time", got)
	}
}
