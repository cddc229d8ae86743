//go:build linux

package images_test

import (
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"sync"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"outrigger.dev/outrigger/test/controller"
)

// The controller dies at each of its writes about an image and its claim, once before and once after the API server
// has carried it out. The next one goes on: the image is built, no two scripts ever run for it at once,
// and nothing is left.
func TestKilledAnywhere(t *testing.T) {
	for _, after := range []bool{false, true} {
		for at := 1; ; at++ {
			k := &controller.Killer{At: at, After: after, Names: name}
			t.Run(fmt.Sprintf("write %d, after it %t", at, after), func(t *testing.T) { oneLife(t, k) })
			if !k.Dead() {
				if at <= 6 {
					t.Errorf("only %d writes; want at least: finalizer, claim, its status, script, saving, done, in use", at-1)
				}
				break
			}
			if t.Failed() {
				return
			}
		}
	}
}

// oneLife is the whole life of an image, with a controller that k kills, and then another.
func oneLife(t *testing.T, k *controller.Killer) {
	t.Helper()
	w := newWorld(t)
	w.maker.Go()
	w.makePool(0, 2, nil)
	w.makeImage("echo one\nwait", nil)
	stop := w.controlBy(k.Config(w.config))
	var once sync.Once
	w.meanwhile = func() {
		if k.Died() {
			once.Do(func() {
				stop()
				stop = w.control()
			})
		}
	}
	w.eventually("it is built", func() bool {
		return w.is(metav1.ConditionTrue, "Built") || w.is(metav1.ConditionTrue, "Exists")
	})
	w.eventually("nothing is left", func() bool { return w.claim() == nil && w.cloud.Count() == 0 })
	i := w.image()
	if got := w.cloud.ImageNames(); !slices.Equal(got, []string{base, i.Status.Image}) || len(i.Status.Images) != 1 || i.Status.Images[0].Name != i.Status.Image {
		t.Errorf("images of the cloud: %v, of the status: %+v", got, i.Status)
	}
	w.meanwhile() // killed by its last write
	w.meanwhile = func() {}
	stop()
	w.must(w.Delete(t.Context(), i))
	next := w.control()
	w.eventually("the object goes", func() bool { return w.Get(t.Context(), client.ObjectKey{Name: i.Name}, i) != nil })
	next()
}

// aboutImages are the writes at which the controller is killed.
var aboutImages = regexp.MustCompile(`/machineimages/|/machineclaims$|/machineclaims/image-[^/]+$`)

func name(req *http.Request) string {
	return aboutImages.FindString(req.URL.Path)
}
