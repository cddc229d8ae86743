//go:build linux

package images_test

import (
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// The controller dies at each of its writes about an image and its claim, once before and once after the API server
// has carried it out. The next one goes on: the image is built, no two scripts ever run for it at once,
// and nothing is left.
func TestKilledAnywhere(t *testing.T) {
	for _, after := range []bool{false, true} {
		for at := 1; ; at++ {
			k := &killer{at: int64(at), after: after}
			t.Run(fmt.Sprintf("write %d, after it %t", at, after), func(t *testing.T) { oneLife(t, k) })
			if !k.dead.Load() {
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
func oneLife(t *testing.T, k *killer) {
	t.Helper()
	w := newWorld(t)
	w.maker.Go()
	config := rest.CopyConfig(w.config)
	config.Wrap(k.wrap)
	w.makePool(0, 2, nil)
	w.makeImage("echo one\nwait", nil)
	stop := w.controlBy(config)
	var once sync.Once
	w.meanwhile = func() {
		if k.dead.Load() {
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

// A killer lets a controller die at one of its writes about images and claims.
type killer struct {
	at    int64
	after bool // the write is carried out, and the controller never hears of it

	seen atomic.Int64
	dead atomic.Bool
}

var aboutImages = regexp.MustCompile(`/machineimages/|/machineclaims$|/machineclaims/image-[^/]+$`)

var errKilled = errors.New("killed")

func (k *killer) wrap(rt http.RoundTripper) http.RoundTripper {
	return roundTripper(func(req *http.Request) (*http.Response, error) {
		if k.dead.Load() {
			return nil, errKilled
		}
		if req.Method == http.MethodGet || !aboutImages.MatchString(req.URL.Path) || k.seen.Add(1) != k.at {
			return rt.RoundTrip(req)
		}
		if k.after {
			resp, err := rt.RoundTrip(req)
			if err == nil {
				resp.Body.Close()
			}
		}
		k.dead.Store(true)
		return nil, errKilled
	})
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }
