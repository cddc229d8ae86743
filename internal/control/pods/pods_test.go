//go:build linux

package pods_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"outrigger.dev/outrigger/api/v1alpha1"
)

// A Pod gets its machine, runs, ends and gives it back.
func TestOnePod(t *testing.T) {
	w := newWorld(t)
	w.control()
	w.makePool(1, 2)
	w.warm()
	warm := w.machines()[0].Name

	pod := w.pod("job", nil)
	w.begins(pod)
	if got := pod.Annotations[v1alpha1.AnnotationMachine]; got != warm {
		t.Errorf("annotated with machine %q; want the warm one, %s", got, warm)
	}
	login := w.secret(pod)
	if login == nil || string(login.Machine) != warm || login.Key != "key 0" || len(login.Endpoint.HostKeys) != 1 {
		t.Fatalf("the relays get %+v; want the login of %s", login, warm)
	}
	c := w.claim(pod)
	if login.Name != c.Namespace+"/"+c.Name || !strings.HasPrefix(login.Lease, pod.Name+"-") || !strings.HasSuffix(login.Lease, string(c.UID)[:8]) || len(login.Lease) > 63 {
		t.Errorf("claim %s, lease %s", login.Name, login.Lease)
	}
	if h := c.Spec.Holder; h == nil || h.Name != pod.Name || h.UID != string(pod.UID) || c.OwnerReferences[0].UID != pod.UID {
		t.Errorf("the claim's holder is %v, its owners %v", h, c.OwnerReferences)
	}
	w.eventually("the claim is ready", func() bool {
		c := w.claim(pod)
		return c.Status.ReadyAt != nil && c.Status.SecretName == "outrigger-"+c.Name && claimCondition(c, v1alpha1.ClaimConditionReady).Status == metav1.ConditionTrue
	})
	w.eventually("the Pod says so", func() bool {
		x := condition(w.reload(pod))
		return x.Status == corev1.ConditionTrue && x.Message == "machine "+warm+" of pool "+w.pool
	})
	w.hears(pod, "HandedOver", warm)

	w.ends(pod, "log=0")
	w.ends(pod, "build=0") // the sidecar is over, and would not have mattered
	w.becomes(pod, v1alpha1.ClaimReleased)
	if s := w.secret(pod); s != nil {
		t.Errorf("the Secret is still there: %+v", s)
	}
	c = w.claim(pod)
	if x := claimCondition(c, v1alpha1.ClaimConditionReleased); x.Reason != "PodSucceeded" || c.Status.Machine != warm || c.Status.ReleasedAt == nil {
		t.Errorf("the claim says %+v; want that its Pod has succeeded, and where it was", c.Status)
	}
	w.hears(pod, "Released", "Gave machine "+warm+" back")
	w.eventually("the machine is gone", func() bool {
		return !slices.ContainsFunc(w.machines(), func(m v1alpha1.Machine) bool { return m.Name == warm })
	})
}

// How long it takes from the Pod to its gate, with a warm machine.
func TestLatency(t *testing.T) {
	const pods = 20
	w := newWorld(t)
	w.control()
	w.makePool(3, 3)
	var took []time.Duration
	for range pods {
		w.warm()
		pod := w.marked("warm", nil)
		begun := time.Now()
		w.must(w.Create(w.Context(), pod))
		for isGated(pod) {
			w.reload(pod)
		}
		took = append(took, time.Since(begun))
		w.remove(pod)
		w.eventually("all is idle", func() bool { return w.held() == 0 && w.claim(pod) == nil })
	}
	slices.Sort(took)
	t.Logf("from the Pod to its gate, %d times: median %s, most %s; one write takes %s", pods, took[pods/2], took[pods-1], w.oneWrite())
}

// oneWrite is how long the API server takes for one: the way to the gate is five, and two reads.
func (w *world) oneWrite() time.Duration {
	w.Helper()
	var took []time.Duration
	for i := range 20 {
		begun := time.Now()
		w.must(w.Create(w.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: w.pool, Name: fmt.Sprint("write-", i)}}))
		took = append(took, time.Since(begun))
	}
	slices.Sort(took)
	return took[len(took)/2]
}
