//go:build linux

package images_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"outrigger.dev/outrigger/api/v1alpha1"
	"outrigger.dev/outrigger/internal/control/images"
	"outrigger.dev/outrigger/internal/control/manager"
	"outrigger.dev/outrigger/internal/control/pools"
	"outrigger.dev/outrigger/internal/provider"
	"outrigger.dev/outrigger/test/apiserver"
	"outrigger.dev/outrigger/test/cloud"
	"outrigger.dev/outrigger/test/controller"
)

var server *apiserver.Server

func TestMain(m *testing.M) { apiserver.Main(m, &server) }

const base = "sequoia"

// A world is a controller with the rights that it is installed with, a cloud that has the base, and a client that is
// the operator. Its names are its own: the API server is shared.
type world struct {
	*testing.T
	client.WithWatch
	cloud  *cloud.Cloud
	maker  *cloud.Maker
	name   string // of the pool and of the image
	times  images.Times
	places pools.Places
	config *rest.Config // the controller's

	meanwhile func() // is called while the world waits for a fact
}

var worlds atomic.Int64

func newWorld(t *testing.T) *world {
	t.Helper()
	c := &cloud.Cloud{Dir: t.TempDir()}
	w := &world{
		T: t, cloud: c, maker: &cloud.Maker{Cloud: c}, name: fmt.Sprintf("xcode-%d", worlds.Add(1)), config: server.ConfigFor(apiserver.Nobody), places: cloud.Places{Cloud: c},
		times:     images.Times{Look: 200 * time.Millisecond, Inputs: 50 * time.Millisecond, Retry: 100 * time.Millisecond, Tell: 20 * time.Millisecond, Collect: 50 * time.Millisecond},
		meanwhile: func() {},
	}
	w.must(c.Init())
	c.SetFaults(cloud.Faults{AtCreate: c.Known})
	w.must(c.PutImage(provider.Image{Name: base}))
	var err error
	w.WithWatch, err = client.NewWithWatch(server.Config(), client.Options{Scheme: server.Scheme()})
	w.must(err)
	w.must(w.Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: w.home()}}))
	w.must(server.Grant(t.Context(), w.home()))
	t.Cleanup(func() {
		for _, v := range c.Violations() {
			t.Errorf("violation: %s", v)
		}
	})
	return w
}

// home is the controller's own namespace.
func (w *world) home() string { return w.name + "-system" }

func (w *world) must(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

// control runs a controller until the test ends or stop is called.
func (w *world) control() (stop func()) {
	w.Helper()
	return w.controlBy(w.config)
}

func (w *world) controlBy(config *rest.Config) (stop func()) {
	w.Helper()
	return controller.Start(w.T, config, manager.Options{
		Namespace: w.home(), ClusterID: "test",
		Places: w.places, Readier: &cloud.Readier{}, Maker: w.maker, ImageTimes: w.times,
		Times: pools.Times{Backoff: 50 * time.Millisecond, Herald: 20 * time.Millisecond, Survey: 100 * time.Millisecond},
	})
}

// makePool makes the world's pool, whose machines are of the world's image.
func (w *world) makePool(warm, most int32, change func(*v1alpha1.MachinePoolSpec)) {
	w.Helper()
	p := &v1alpha1.MachinePool{ObjectMeta: metav1.ObjectMeta{Name: w.name}, Spec: v1alpha1.MachinePoolSpec{
		OS: "linux", Arch: "amd64", Provider: v1alpha1.ProviderSpec{QEMU: &v1alpha1.QEMUProvider{}}, Warm: &warm, Max: most,
		ImageFrom: &v1alpha1.ImageReference{Name: w.name},
	}}
	if change != nil {
		change(&p.Spec)
	}
	w.must(w.Create(w.Context(), p))
	w.Cleanup(func() { // the next test's controller sees all of the server
		ctx := context.WithoutCancel(w.Context())
		_ = w.Delete(ctx, p)
		for _, m := range w.machines() {
			m.Finalizers = nil
			_ = w.Update(ctx, &m)
			_ = w.Delete(ctx, &m)
		}
		if w.Get(ctx, client.ObjectKeyFromObject(p), p) == nil {
			p.Finalizers = nil
			_ = w.Update(ctx, p)
		}
	})
}

// makeImage makes the world's image.
func (w *world) makeImage(script string, change func(*v1alpha1.MachineImageSpec)) {
	w.Helper()
	i := &v1alpha1.MachineImage{ObjectMeta: metav1.ObjectMeta{Name: w.name}, Spec: v1alpha1.MachineImageSpec{Pool: w.name, Base: base, Script: script}}
	if change != nil {
		change(&i.Spec)
	}
	w.must(w.Create(w.Context(), i))
	w.Cleanup(func() {
		ctx := context.WithoutCancel(w.Context())
		_ = w.Delete(ctx, i)
		if w.Get(ctx, client.ObjectKeyFromObject(i), i) == nil {
			i.Finalizers = nil
			_ = w.Update(ctx, i)
		}
		_ = w.DeleteAllOf(ctx, &v1alpha1.MachineClaim{}, client.InNamespace(w.home()))
	})
}

// image reads the world's image.
func (w *world) image() *v1alpha1.MachineImage {
	w.Helper()
	i := &v1alpha1.MachineImage{}
	w.must(w.Get(w.Context(), client.ObjectKey{Name: w.name}, i))
	return i
}

// change changes the image's spec.
func (w *world) change(f func(*v1alpha1.MachineImageSpec)) {
	w.Helper()
	w.eventually("the image is changed", func() bool {
		i := w.image()
		f(&i.Spec)
		return w.Update(w.Context(), i) == nil
	})
}

func (w *world) script(text string) {
	w.Helper()
	w.change(func(s *v1alpha1.MachineImageSpec) { s.Script = text })
}

// is tells whether the image's condition Built has that status and reason.
func (w *world) is(status metav1.ConditionStatus, reason string) bool {
	w.Helper()
	i := w.image()
	c := meta.FindStatusCondition(i.Status.Conditions, v1alpha1.ImageBuilt)
	return c != nil && c.Status == status && c.Reason == reason && i.Status.ObservedGeneration == i.Generation
}

func (w *world) becomes(status metav1.ConditionStatus, reason string) *v1alpha1.MachineImage {
	w.Helper()
	w.eventually(fmt.Sprintf("the image is %s: %s", status, reason), func() bool { return w.is(status, reason) })
	return w.image()
}

// message is what the image's condition Built says.
func message(i *v1alpha1.MachineImage) string {
	if c := meta.FindStatusCondition(i.Status.Conditions, v1alpha1.ImageBuilt); c != nil {
		return c.Message
	}
	return ""
}

// claim is that of the build, or nil.
func (w *world) claim() *v1alpha1.MachineClaim {
	w.Helper()
	c := &v1alpha1.MachineClaim{}
	err := w.Get(w.Context(), client.ObjectKey{Namespace: w.home(), Name: "image-" + w.name}, c)
	if apierrors.IsNotFound(err) {
		return nil
	}
	w.must(err)
	return c
}

func (w *world) machines() []v1alpha1.Machine {
	w.Helper()
	var all v1alpha1.MachineList
	w.must(w.List(context.WithoutCancel(w.Context()), &all, client.MatchingLabels{v1alpha1.LabelPool: w.name}))
	return all.Items
}

// idleOf counts the idle machines of an image.
func (w *world) idleOf(image string) int {
	w.Helper()
	n := 0
	for _, m := range w.machines() {
		if m.Status.Phase == v1alpha1.MachineIdle && m.Spec.Claim == nil && m.Spec.Image == image {
			n++
		}
	}
	return n
}

// hears waits for an event about the image.
func (w *world) hears(reason, part string) {
	w.Helper()
	w.eventually("an event "+reason+": "+part, func() bool {
		var all eventsv1.EventList
		w.must(w.List(w.Context(), &all))
		return slices.ContainsFunc(all.Items, func(e eventsv1.Event) bool {
			return e.Regarding.Name == w.name && e.Regarding.Kind == "MachineImage" && e.Reason == reason && strings.Contains(e.Note, part)
		})
	})
}

// eventually waits for a fact.
func (w *world) eventually(what string, fact func() bool) {
	w.Helper()
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if fact() {
			return
		}
		w.meanwhile()
	}
	for _, m := range w.machines() {
		w.Logf("machine %s of %s: %s, claim %v, %+v", m.Name, m.Spec.Image, m.Status.Phase, m.Spec.Claim, m.Status.Conditions)
	}
	i := &v1alpha1.MachineImage{}
	_ = w.Get(context.WithoutCancel(w.Context()), client.ObjectKey{Name: w.name}, i)
	w.Logf("image: %+v\nbuild: %+v\nimages of the cloud: %v", i.Status, i.Status.Build, w.cloud.ImageNames())
	w.Fatalf("not within 30 s: %s", what)
}
