//go:build linux

package images_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"outrigger.dev/outrigger/api/v1alpha1"
	"outrigger.dev/outrigger/internal/control/pools"
	"outrigger.dev/outrigger/internal/machine"
	"outrigger.dev/outrigger/internal/provider"
	"outrigger.dev/outrigger/test/cloud"
)

// A pool of an image that was never built waits for it, says so, and serves when it is there.
func TestThePoolWaitsForItsImage(t *testing.T) {
	w := newWorld(t)
	w.control()
	w.makePool(1, 2, nil)
	pool := func(kind string) metav1.Condition {
		p := &v1alpha1.MachinePool{}
		w.must(w.Get(t.Context(), client.ObjectKey{Name: w.name}, p))
		if c := meta.FindStatusCondition(p.Status.Conditions, kind); c != nil {
			return *c
		}
		return metav1.Condition{}
	}
	w.eventually("the pool says that there is no such image", func() bool {
		return pool(v1alpha1.PoolReady).Reason == "ImageNotBuilt" && strings.Contains(pool(v1alpha1.PoolImageReady).Message, "there is no MachineImage "+w.name)
	})
	w.must(w.Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: w.name}}))
	waits := &v1alpha1.MachineClaim{ObjectMeta: metav1.ObjectMeta{Namespace: w.name, Name: "job"}, Spec: v1alpha1.MachineClaimSpec{Pool: w.name}}
	w.must(w.Create(t.Context(), waits))

	w.makeImage("echo tools are installed\nwait", nil)
	i := w.becomes(metav1.ConditionFalse, "Building")
	if b := i.Status.Build; b == nil || b.Phase != v1alpha1.BuildScript || b.Machine == "" || b.Claim != "image-"+w.name || i.Status.Image != "" {
		t.Errorf("status while it is built: %+v, %+v", i.Status, b)
	}
	if len(w.machines()) != 1 {
		t.Errorf("%d machines while the image is built; want that of the build alone", len(w.machines()))
	}
	w.eventually("the claim is told why it waits", func() bool {
		w.must(w.Get(t.Context(), client.ObjectKeyFromObject(waits), waits))
		c := meta.FindStatusCondition(waits.Status.Conditions, v1alpha1.ClaimConditionBound)
		return c != nil && c.Reason == "ImageNotBuilt" && strings.Contains(c.Message, "is not built yet: Building")
	})
	w.eventually("the script's words are seen", func() bool { return w.image().Status.Build.Output == "tools are installed" })

	w.maker.Go()
	i = w.becomes(metav1.ConditionTrue, "Built")
	name := i.Status.Image
	if name != i.Status.Wanted || !strings.HasPrefix(name, w.name+"-") || len(i.Status.Images) != 1 || i.Status.Images[0].Base != base || i.Status.Images[0].Took == nil {
		t.Errorf("status when it is built: %+v", i.Status)
	}
	if !slices.Contains(w.cloud.ImageNames(), name) || !w.maker.Unmade(i.Status.Build.Machine) && i.Status.Build.Machine != "" {
		t.Errorf("images of the cloud: %v", w.cloud.ImageNames())
	}
	w.eventually("the claim is served with it", func() bool {
		w.must(w.Get(t.Context(), client.ObjectKeyFromObject(waits), waits))
		return waits.Status.Phase == v1alpha1.ClaimBound
	})
	m, err := w.cloud.Get(t.Context(), machine.Name(waits.Status.Machine))
	w.must(err)
	if m.Image != name {
		t.Errorf("the claim has a machine of %q, want %s", m.Image, name)
	}
	w.eventually("the build's claim and machine are gone", func() bool { return w.claim() == nil && w.idleOf(name) == 1 && len(w.machines()) == 2 })
	w.eventually("the pool is content", func() bool {
		return pool(v1alpha1.PoolReady).Status == metav1.ConditionTrue && pool(v1alpha1.PoolImageReady).Status == metav1.ConditionTrue
	})
	for _, reason := range []string{"BuildQueued", "BuildStarted", "BuildSaving", "ImageBuilt", "ImageChanged"} {
		w.hears(reason, name)
	}
	all, err := metrics.Registry.Gather()
	w.must(err)
	var metered []string
	for _, f := range all {
		metered = append(metered, f.GetName())
	}
	for _, name := range []string{"outrigger_image_current", "outrigger_image_build_seconds"} {
		if !slices.Contains(metered, name) {
			t.Errorf("there is no metric %s", name)
		}
	}
}

func TestAScriptFails(t *testing.T) {
	w := newWorld(t)
	w.control()
	w.makePool(0, 2, nil)
	w.makeImage("echo fetching\nexit 7", nil)
	i := w.becomes(metav1.ConditionFalse, "ScriptFailed")
	if !strings.Contains(message(i), "line 2: exit 7: exit code 7") || i.Status.Build.FailedLine != 2 || i.Status.Build.Output != "fetching" {
		t.Errorf("the condition says %q, the build %+v", message(i), i.Status.Build)
	}
	w.hears("BuildFailed", "line 2: exit 7")
	w.eventually("it is tried again, after pauses", func() bool { return w.image().Status.Build.Failures >= 3 })
	w.script("echo fetching")
	w.becomes(metav1.ConditionTrue, "Built")
	w.eventually("nothing is left", func() bool { return w.claim() == nil && w.cloud.Count() == 0 })
}

func TestAMachineIsKept(t *testing.T) {
	w := newWorld(t)
	w.times.Retry = time.Hour
	w.control()
	w.makePool(0, 2, nil)
	w.makeImage("exit 1", func(s *v1alpha1.MachineImageSpec) { s.KeepOnFailure = &metav1.Duration{Duration: time.Hour} })
	i := w.becomes(metav1.ConditionFalse, "ScriptFailed")
	b := i.Status.Build
	if b.Machine == "" || b.KeptUntil == nil || !strings.Contains(message(i), "machine "+b.Machine+" is kept until") || !strings.Contains(message(i), "Secret machine-"+b.Machine) {
		t.Fatalf("the condition says %q, the build %+v", message(i), b)
	}
	w.hears("MachineKept", b.Machine)
	if c := w.claim(); c == nil || c.Status.Machine != b.Machine {
		t.Fatalf("the claim is %+v; want it with machine %s", c, b.Machine)
	}
	// Who has seen enough deletes the claim; what is changed begins anew at once.
	w.must(w.Delete(t.Context(), w.claim()))
	w.eventually("it is not said to be kept any more", func() bool {
		i := w.image()
		return i.Status.Build.Machine == "" && i.Status.Build.KeptUntil == nil && strings.HasSuffix(message(i), "line 1: exit 1: exit code 1")
	})
	w.script("exit 2")
	w.eventually("another one is kept", func() bool { b := w.image().Status.Build; return b.Machine != "" && b.KeptUntil != nil })
	w.script("echo mended")
	i = w.becomes(metav1.ConditionTrue, "Built")
	w.eventually("the machine is given back", func() bool { return w.claim() == nil && w.cloud.Count() == 0 })
	if b := i.Status.Build; b.Machine != "" && b.Machine == w.image().Status.Build.Machine || w.image().Status.Build.KeptUntil != nil {
		t.Errorf("the build says %+v", w.image().Status.Build)
	}
}

// Of the same inputs there is one image: going back to them builds nothing.
func TestInputsChange(t *testing.T) {
	w := newWorld(t)
	w.control()
	w.makePool(1, 3, nil)
	key := &v1alpha1.KeyReference{Name: "scripts", Key: "install.sh"}
	w.makeImage("", func(s *v1alpha1.MachineImageSpec) {
		s.ScriptFrom = key
		s.Files = []v1alpha1.ImageFile{{Path: "/etc/licence", Secret: &v1alpha1.KeyReference{Name: "licence", Key: "text"}}}
	})
	if got := message(w.becomes(metav1.ConditionFalse, "InputMissing")); !strings.Contains(got, "there is no ConfigMap "+w.home()+"/scripts") {
		t.Errorf("the condition says %q", got)
	}
	scripts := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: w.home(), Name: "scripts"}, Data: map[string]string{"install.sh": "echo one"}}
	w.must(w.Create(t.Context(), scripts))
	w.eventually("the Secret is missed", func() bool {
		return strings.Contains(message(w.image()), "spec.files[0]: there is no Secret "+w.home()+"/licence")
	})
	licence := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: w.home(), Name: "licence"}, StringData: map[string]string{"text": "ours"}}
	w.must(w.Create(t.Context(), licence))
	first := w.becomes(metav1.ConditionTrue, "Built").Status.Image
	w.eventually("the pool has one of it", func() bool { return w.idleOf(first) == 1 })

	scripts.Data["install.sh"] = "echo two"
	w.must(w.Update(t.Context(), scripts))
	w.eventually("another script is another image", func() bool { i := w.image().Status.Image; return i != first && i != "" })
	second := w.becomes(metav1.ConditionTrue, "Built").Status.Image
	licence.StringData = map[string]string{"text": "theirs"}
	w.must(w.Update(t.Context(), licence))
	w.eventually("another file is another image", func() bool { i := w.image().Status.Image; return i != first && i != second && i != "" })
	third := w.becomes(metav1.ConditionTrue, "Built")
	w.eventually("the pool has gone over to it, and the first image is deleted", func() bool {
		return w.idleOf(third.Status.Image) == 1 && slices.Equal(w.names(), []string{third.Status.Image, second})
	})
	if built := w.maker.Begun(); built != 3 {
		t.Errorf("%d builds, want 3", built)
	}

	// Back to what was before, by the inputs, and forth by name.
	licence.StringData = map[string]string{"text": "ours"}
	w.must(w.Update(t.Context(), licence))
	w.eventually("the second image is in use again", func() bool { return w.image().Status.Image == second && w.is(metav1.ConditionTrue, "Exists") })
	w.change(func(s *v1alpha1.MachineImageSpec) { s.Use = third.Status.Image })
	w.becomes(metav1.ConditionTrue, "Pinned")
	w.eventually("the pool has one of it", func() bool { return w.image().Status.Image == third.Status.Image && w.idleOf(third.Status.Image) == 1 })
	w.change(func(s *v1alpha1.MachineImageSpec) { s.Use = first })
	if got := w.becomes(metav1.ConditionFalse, "UnknownImage"); got.Status.Image != third.Status.Image {
		t.Errorf("in use is %s; want what was in use before, since the provider does not have %s any more", got.Status.Image, first)
	}
	if built := w.maker.Begun(); built != 3 {
		t.Errorf("%d builds after going back; want none more than 3", built)
	}
}

// names returns the images that the status has.
func (w *world) names() []string {
	var all []string
	for _, i := range w.image().Status.Images {
		all = append(all, i.Name)
	}
	return all
}

// What is asked for changes while it is built: that build ends, and the next begins on another machine.
func TestSuperseded(t *testing.T) {
	w := newWorld(t)
	w.control()
	w.makePool(0, 3, nil)
	w.makeImage("echo one\nwait", nil)
	first := w.becomes(metav1.ConditionFalse, "Building").Status.Build
	w.script("echo two\nwait")
	w.eventually("the other is being built", func() bool {
		b := w.image().Status.Build
		return w.is(metav1.ConditionFalse, "Building") && b.Image != first.Image
	})
	second := w.image().Status.Build
	if second.Machine == first.Machine || second.ClaimUID == first.ClaimUID {
		t.Errorf("built on %s and then on %s", first.Machine, second.Machine)
	}
	w.hears("BuildSuperseded", second.Image)
	w.maker.Go()
	if i := w.becomes(metav1.ConditionTrue, "Built"); i.Status.Image != second.Image || len(i.Status.Images) != 1 {
		t.Errorf("status %+v", i.Status)
	}
}

// Neither labels nor other settings of the object, which change while it is built, end the build.
func TestTheObjectChangesWhileItIsBuilt(t *testing.T) {
	w := newWorld(t)
	w.control()
	w.makePool(0, 3, nil)
	w.makeImage("wait", nil)
	first := w.becomes(metav1.ConditionFalse, "Building").Status.Build
	w.change(func(s *v1alpha1.MachineImageSpec) { s.History = new(int32(3)) })
	w.maker.Go()
	i := w.becomes(metav1.ConditionTrue, "Built")
	if w.maker.Begun() != 1 || i.Status.Build.ClaimUID != first.ClaimUID {
		t.Errorf("%d builds, the last with %+v; the first was %+v", w.maker.Begun(), i.Status.Build, first)
	}
}

func TestTheClaimIsDeletedMeanwhile(t *testing.T) {
	w := newWorld(t)
	w.control()
	w.makePool(0, 3, nil)
	w.makeImage("wait", nil)
	w.becomes(metav1.ConditionFalse, "Building")
	w.must(w.Delete(t.Context(), w.claim()))
	w.becomes(metav1.ConditionFalse, "MachineLost")
	w.maker.Go()
	w.becomes(metav1.ConditionTrue, "Built")
}

func TestABuildTakesTooLong(t *testing.T) {
	w := newWorld(t)
	w.times.Retry = time.Hour
	w.control()
	w.makePool(0, 3, nil)
	w.makeImage("wait", func(s *v1alpha1.MachineImageSpec) { s.Timeout = &metav1.Duration{Duration: 100 * time.Millisecond} })
	if got := message(w.becomes(metav1.ConditionFalse, "BuildTimeout")); !strings.Contains(got, "longer than spec.timeout") {
		t.Errorf("the condition says %q", got)
	}
	w.eventually("its machine is given back", func() bool { return w.claim() == nil && w.cloud.Count() == 0 })
}

// Who begins to control finds a build that another has begun: it begins anew, on another machine.
func TestTheControllerIsStartedAnew(t *testing.T) {
	w := newWorld(t)
	stop := w.control()
	w.makePool(0, 3, nil)
	w.makeImage("wait", nil)
	first := w.becomes(metav1.ConditionFalse, "Building").Status.Build
	stop()
	w.control()
	w.eventually("another build is under way", func() bool {
		b := w.image().Status.Build
		return b.ClaimUID != first.ClaimUID && b.Phase == v1alpha1.BuildScript
	})
	w.hears("BuildInterrupted", "begins anew")
	w.maker.Go()
	w.becomes(metav1.ConditionTrue, "Built")
	w.eventually("nothing is left", func() bool { return w.claim() == nil && w.cloud.Count() == 0 })
}

// A base that there is not fails the build, and those who wait are told.
func TestAnUnknownBase(t *testing.T) {
	w := newWorld(t)
	w.times.Retry = time.Hour
	w.control()
	w.makePool(0, 3, nil)
	w.makeImage("echo", func(s *v1alpha1.MachineImageSpec) { s.Base = "sequoia-typo" })
	if got := message(w.becomes(metav1.ConditionFalse, "UnknownImage")); !strings.Contains(got, "sequoia-typo") {
		t.Errorf("the condition says %q", got)
	}
	w.change(func(s *v1alpha1.MachineImageSpec) { s.Base = base })
	w.becomes(metav1.ConditionTrue, "Built")
}

func TestThePoolIsMissing(t *testing.T) {
	w := newWorld(t)
	w.control()
	w.makeImage("echo", nil)
	w.becomes(metav1.ConditionFalse, "PoolNotFound")
	w.makePool(0, 1, nil)
	w.becomes(metav1.ConditionTrue, "Built")
}

// A pool that only some namespaces may use builds images for them all the same.
func TestAPoolForOthers(t *testing.T) {
	w := newWorld(t)
	w.control()
	w.makePool(0, 1, func(s *v1alpha1.MachinePoolSpec) {
		s.AllowedNamespaces = &metav1.LabelSelector{MatchLabels: map[string]string{"team": "ios"}}
	})
	w.makeImage("echo", nil)
	w.becomes(metav1.ConditionTrue, "Built")
}

// An image that is deleted behind our back is built anew.
func TestAnImageIsDeletedBehindOurBack(t *testing.T) {
	w := newWorld(t)
	w.control()
	w.makePool(0, 1, nil)
	w.makeImage("echo", nil)
	i := w.becomes(metav1.ConditionTrue, "Built")
	w.must(w.cloud.DeleteImage(t.Context(), i.Status.Image))
	w.eventually("it is there again", func() bool { return slices.Contains(w.cloud.ImageNames(), i.Status.Image) && w.maker.Begun() == 2 })
	w.becomes(metav1.ConditionTrue, "Built")
}

// A base that is made anew under its name makes another image; one that goes away makes none.
func TestTheBaseIsMadeAnew(t *testing.T) {
	w := newWorld(t)
	w.control()
	w.makePool(0, 1, nil)
	w.makeImage("echo", nil)
	first := w.becomes(metav1.ConditionTrue, "Built").Status.Image
	w.must(w.cloud.PutImage(provider.Image{Name: base, Created: time.Now()}))
	w.eventually("another image is in use", func() bool { return w.image().Status.Image != first && w.is(metav1.ConditionTrue, "Built") })
	second := w.image().Status.Image
	w.eventually("nothing is in use", func() bool { return w.cloud.Count() == 0 })
	w.must(w.cloud.DeleteImage(t.Context(), base))
	w.change(func(s *v1alpha1.MachineImageSpec) { s.History = new(int32(5)) })
	if i := w.becomes(metav1.ConditionTrue, "Built"); i.Status.Image != second || w.maker.Begun() != 2 {
		t.Errorf("without its base: image %s after %d builds; want %s and 2", i.Status.Image, w.maker.Begun(), second)
	}
}

// The wreck of a save that somebody broke off is taken away; one that goes on is waited for.
func TestAnImageThatIsNotReady(t *testing.T) {
	w := newWorld(t)
	stop := w.control()
	w.makePool(0, 1, nil)
	w.makeImage("echo", nil)
	i := w.becomes(metav1.ConditionTrue, "Built")
	stop()
	w.must(w.cloud.PutImage(provider.Image{Name: i.Status.Image, State: provider.ImageSaving}))
	w.must(w.cloud.PutImage(provider.Image{Name: w.name + "-else"}))
	w.control()
	w.becomes(metav1.ConditionFalse, "Saving")
	if w.maker.Begun() != 1 {
		t.Errorf("%d builds, although the image is being saved", w.maker.Begun())
	}
	w.must(w.cloud.PutImage(provider.Image{Name: i.Status.Image, State: provider.ImageFailed}))
	w.eventually("it is built anew", func() bool { return w.maker.Begun() == 2 })
	w.becomes(metav1.ConditionTrue, "Built")
}

// Answers get lost, calls fail: in the end the image is there, once, and nothing else.
func TestAProviderThatFails(t *testing.T) {
	w := newWorld(t)
	w.cloud.SetFaults(cloud.Faults{AtCreate: w.cloud.Known, Fail: .2, Lose: .2})
	w.control()
	w.makePool(0, 2, nil)
	w.makeImage("echo", nil)
	w.eventually("it is built, or found although the answer was lost", func() bool {
		return w.is(metav1.ConditionTrue, "Built") || w.is(metav1.ConditionTrue, "Exists")
	})
	w.cloud.SetFaults(cloud.Faults{AtCreate: w.cloud.Known})
	w.eventually("nothing is left", func() bool { return w.claim() == nil && w.cloud.Count() == 0 })
	if got := w.cloud.ImageNames(); len(got) != 2 {
		t.Errorf("images %v, want the base and one more", got)
	}
}

// What kubectl get shows: which image pools use, whether it is what is asked for, and which was before.
func TestTheTable(t *testing.T) {
	w := newWorld(t)
	w.times.Retry = time.Hour
	w.control()
	w.makePool(0, 1, nil)
	w.makeImage("echo one", nil)
	first := w.becomes(metav1.ConditionTrue, "Built").Status.Image
	w.script("echo two")
	w.eventually("the second is in use", func() bool { return w.image().Status.Image != first && w.is(metav1.ConditionTrue, "Built") })
	second := w.image().Status.Image
	w.script("exit 3")
	w.becomes(metav1.ConditionFalse, "ScriptFailed")
	config := rest.CopyConfig(server.Config())
	config.GroupVersion, config.APIPath, config.NegotiatedSerializer = &v1alpha1.GroupVersion, "/apis", scheme.Codecs.WithoutConversion()
	c, err := rest.RESTClientFor(config)
	w.must(err)
	data, err := c.Get().Resource("machineimages").Name(w.name).SetHeader("Accept", "application/json;as=Table;v=v1;g=meta.k8s.io").DoRaw(t.Context())
	w.must(err)
	var table metav1.Table
	w.must(json.Unmarshal(data, &table))
	got := map[string]string{}
	for n, column := range table.ColumnDefinitions {
		got[column.Name] = fmt.Sprint(table.Rows[0].Cells[n])
	}
	for column, want := range map[string]string{
		"Pool": w.name, "Image": second, "Built": "False", "Reason": "ScriptFailed", "Previous": first, "Base": base,
		"Message": "image " + w.image().Status.Wanted + ": script: line 1: exit 3: exit code 3",
	} {
		if got[column] != want {
			t.Errorf("column %s is %q, want %q", column, got[column], want)
		}
	}
}

// bare are places whose providers keep no images.
type bare struct{ pools.Places }

func (b bare) Open(p *v1alpha1.MachinePool, login, access *corev1.Secret) (pools.Place, error) {
	place, err := b.Places.Open(p, login, access)
	place.Provider = struct{ provider.Provider }{place.Provider}
	return place, err
}

func TestAProviderThatKeepsNoImages(t *testing.T) {
	w := newWorld(t)
	w.places = bare{w.places}
	w.control()
	w.makePool(0, 1, nil)
	w.makeImage("echo", nil)
	if got := message(w.becomes(metav1.ConditionFalse, "NotSupported")); !strings.Contains(got, "pool "+w.name+" keeps no images: orka and qemu do") {
		t.Errorf("the condition says %q", got)
	}
	if w.claim() != nil {
		t.Error("there is a claim, for nothing")
	}
}

// Without the pool nobody can be asked to delete images: the object goes all the same, and says what it leaves.
func TestImagesAreLeftWithoutTheirPool(t *testing.T) {
	w := newWorld(t)
	w.control()
	w.makePool(0, 1, nil)
	w.makeImage("echo", func(s *v1alpha1.MachineImageSpec) { s.DeletionPolicy = v1alpha1.DeletionDelete })
	i := w.becomes(metav1.ConditionTrue, "Built")
	w.eventually("nothing is in use", func() bool { return w.cloud.Count() == 0 && len(w.machines()) == 0 })
	p := &v1alpha1.MachinePool{ObjectMeta: metav1.ObjectMeta{Name: w.name}}
	w.must(w.Delete(t.Context(), p))
	w.eventually("the pool is gone", func() bool { return apierrors.IsNotFound(w.Get(t.Context(), client.ObjectKeyFromObject(p), p)) })
	w.must(w.Delete(t.Context(), i))
	w.eventually("the object is gone", func() bool { return apierrors.IsNotFound(w.Get(t.Context(), client.ObjectKeyFromObject(i), i)) })
	w.hears("ImagesLeft", i.Status.Image)
}

func TestImagesOfAnObjectThatIsDeleted(t *testing.T) {
	for _, policy := range []v1alpha1.DeletionPolicy{v1alpha1.DeletionRetain, v1alpha1.DeletionDelete} {
		t.Run(string(policy), func(t *testing.T) {
			w := newWorld(t)
			w.control()
			w.makePool(1, 2, nil)
			w.makeImage("echo", func(s *v1alpha1.MachineImageSpec) { s.DeletionPolicy = policy })
			i := w.becomes(metav1.ConditionTrue, "Built")
			name := i.Status.Image
			w.eventually("the pool has one of it", func() bool { return w.idleOf(name) == 1 })
			gone := func() bool {
				return apierrors.IsNotFound(w.Get(t.Context(), client.ObjectKeyFromObject(i), &v1alpha1.MachineImage{}))
			}
			w.must(w.Delete(t.Context(), i))
			if policy == v1alpha1.DeletionRetain {
				w.eventually("the object is gone", gone)
				if !slices.Contains(w.cloud.ImageNames(), name) {
					t.Errorf("image %s is gone too", name)
				}
				return
			}
			w.eventually("it says what it waits for", func() bool {
				return w.is(metav1.ConditionFalse, "Deleting") && strings.Contains(message(w.image()), "pools make machines of it: "+w.name)
			})
			w.eventually("the pool goes over to the base", func() bool {
				p := &v1alpha1.MachinePool{}
				w.must(w.Get(t.Context(), client.ObjectKey{Name: w.name}, p))
				p.Spec.ImageFrom, p.Spec.Image = nil, base
				return w.Update(t.Context(), p) == nil
			})
			w.eventually("the object is gone", gone)
			if slices.Contains(w.cloud.ImageNames(), name) || w.idleOf(base) != 1 {
				t.Errorf("images of the cloud: %v, %d machines of the base", w.cloud.ImageNames(), w.idleOf(base))
			}
		})
	}
}
