//go:build linux

package pods_test

import (
	"fmt"
	"net/http"
	"regexp"
	"sync"
	"testing"

	"outrigger.dev/outrigger/api/v1alpha1"
	"outrigger.dev/outrigger/test/controller"
)

// The controller dies at each of its writes about a Pod, once before and once after the
// API server has carried it out. The next one goes on, and the Pod notices nothing.
func TestKilledAnywhere(t *testing.T) {
	w := newWorld(t)
	w.makePool(1, 2)
	writes := 0
	for _, after := range []bool{false, true} {
		for at := 1; ; at++ {
			k := &controller.Killer{At: at, After: after, Names: name}
			w.oneLife(k, fmt.Sprintf("job-%d-%t", at, after))
			if !k.Dead() {
				writes = at - 1
				break
			}
		}
	}
	t.Logf("killed twice at each of %d writes", writes)
	if writes < 8 {
		t.Errorf("only %d writes; want at least: claim, its binding, Secret, gate, ready, condition, Secret's end, release", writes)
	}
}

// oneLife is the whole life of a Pod, with a controller that k kills, and then another.
func (w *world) oneLife(k *controller.Killer, name string) {
	w.Helper()
	stop := w.controlBy(k.Config(w.config()))
	var once sync.Once
	w.meanwhile = func() {
		if k.Died() {
			once.Do(func() {
				stop()
				stop = w.control()
			})
		}
	}
	pod := w.pod(name, nil)
	w.eventually("the gate of "+name+" is lifted", func() bool { return !isGated(w.reload(pod)) })
	s, machine := w.secret(pod), pod.Annotations[v1alpha1.AnnotationMachine]
	if s == nil || string(s.Machine) != machine {
		w.Errorf("%s may begin on %q with %+v", name, machine, s)
	}
	w.begins(pod)
	w.eventually(name+" says that it has its machine", func() bool { return condition(w.reload(pod)).Reason == "Bound" })
	c := w.claim(pod)
	if c.Status.Machine != machine || c.Status.Phase != v1alpha1.ClaimBound {
		w.Errorf("%s runs on %s; its claim is %s on %s", name, machine, c.Status.Phase, c.Status.Machine)
	}
	w.ends(pod, "build=0")
	w.becomes(pod, v1alpha1.ClaimReleased)
	if s := w.secret(pod); s != nil {
		w.Errorf("the Secret of %s is left", name)
	}
	w.remove(pod)
	w.eventually("the claim of "+name+" is gone", func() bool { return w.claim(pod) == nil })
	w.eventually("no machine is held", func() bool { return w.held() == 0 })
	w.meanwhile() // killed by its last write
	w.meanwhile = func() {}
	stop()
}

// aboutPods are the writes at which the controller is killed.
var aboutPods = regexp.MustCompile(`/namespaces/[^/]+/(pods|machineclaims|secrets/outrigger-)|/secrets$`)

func name(req *http.Request) string {
	return aboutPods.FindString(req.URL.Path)
}
