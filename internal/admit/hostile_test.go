package admit_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"outrigger.dev/outrigger/api/v1alpha1"
	"outrigger.dev/outrigger/internal/admit"
	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/test/hostilepod"
	"outrigger.dev/outrigger/test/soak"
)

// What a Pod costs at most, of whatever size it is: it is copied, and its plans are written.
const (
	costPerByte = 64
	costAlways  = 24 << 20
	mostAllocs  = 1 << 20
	mostDenial  = 32 << 10
	mostGrowth  = 2 << 20
)

// TestHostilePods: each shape, far beyond its limit, at it and below.
func TestHostilePods(t *testing.T) {
	for _, n := range []int{40, 60, 128, 256, 512, 1024, 2048, 4000, 20000} {
		for name, pod := range hostilepod.Named("xcode", n) {
			affordable(t, fmt.Sprintf("%d of %s", n, name), pod)
		}
	}
}

// TestRandomHostilePods does so for mixed ones. The soak has more of them.
func TestRandomHostilePods(t *testing.T) {
	for _, seed := range soak.Seeds(t, 60) {
		t.Run(soak.Name(seed), func(t *testing.T) {
			affordable(t, "a mixed one", hostilepod.Random(rand.New(rand.NewPCG(seed, 5)), "xcode"))
		})
	}
}

// affordable checks what an answer costs, and tells whether the Pod is admitted. It counts allocations and
// not time, which depends on who else is there.
func affordable(t *testing.T, name string, pod *corev1.Pod) bool {
	t.Helper()
	text, err := json.Marshal(pod)
	if err != nil {
		t.Fatal(err)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	out, err := mutate(pod)
	runtime.ReadMemStats(&after)
	if bytes, most := after.TotalAlloc-before.TotalAlloc, uint64(costPerByte*len(text)+costAlways); bytes > most {
		t.Errorf("%s: a Pod of %d bytes took %d bytes of memory, want at most %d", name, len(text), bytes, most)
	}
	if n := after.Mallocs - before.Mallocs; n > mostAllocs {
		t.Errorf("%s: a Pod of %d bytes took %d allocations, want at most %d", name, len(text), n, mostAllocs)
	}
	if err != nil {
		if len(err.Error()) > mostDenial || strings.ContainsAny(err.Error(), "\n\r\x1b") {
			t.Errorf("%s: the denial has %d bytes: %.200q", name, len(err.Error()), err)
		}
		return false
	}
	if _, err := mutate(wire(t, out)); err != nil {
		t.Errorf("%s: is admitted, and then not: %.200v", name, err)
	}
	result, err := json.Marshal(out)
	if err != nil {
		t.Fatal(err)
	}
	if len(result) > 4*len(text)+mostGrowth {
		t.Errorf("%s: a Pod of %d bytes became one of %d", name, len(text), len(result))
	}
	return true
}

// TestMutateEndsWithItsContext: nobody waits for the answer any more.
func TestMutateEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "team"}}
	pod := hostilepod.Named("xcode", 40)["mounts"]
	out, err := admit.Mutate(ctx.Err, pod, admit.Namespace{Namespace: ns}, pools(), admit.Config{RelayImage: "r"}, func() string { return "abcde" })
	if out != nil || !fault.Is(err, fault.TimedOut) {
		t.Errorf("%v, %v", out, err)
	}
}

// TestWhoseDenial: only where pools or the namespace matter is it worth to ask again.
func TestWhoseDenial(t *testing.T) {
	for want, pods := range map[bool][]string{
		true:  {`{outrigger.dev/pool: nonsense}`, `{outrigger.dev/pool: signing, outrigger.dev/keep: x}`},
		false: {`{outrigger.dev/pool: xcode, outrigger.dev/keep: x}`, `{outrigger.dev/pool: xcode, outrigger.dev/containers: none}`},
	} {
		for _, annotations := range pods {
			pod := parse(t, "metadata: {annotations: "+annotations+"}\nspec: {containers: [{name: a, image: a, command: [a]}]}")
			if _, err := mutate(pod); err == nil || errors.Is(err, admit.ErrPool) != want {
				t.Errorf("%s: %v: about the pool: %t, want %t", annotations, err, !want, want)
			}
		}
	}
}

// TestWhatIsTooMuch: what is said of a few limits.
func TestWhatIsTooMuch(t *testing.T) {
	for name, want := range map[string]string{
		"mounts":                    "the Pod has 4000 mounts in container c, and a Pod on a machine may have 512",
		"annotations":               "annotations that begin with outrigger.dev/, and a Pod on a machine may have 256",
		"containers":                "containers, and a Pod on a machine may have 128",
		"names of containers":       "annotation outrigger.dev/containers: has ",
		"tolerations and selectors": "entries of the node selector, and a Pod on a machine may have 256",
	} {
		denied(t, hostilepod.Named("xcode", 4000)[name], want)
	}
	denied(t, hostilepod.Named("xcode", 100)["nested mounts of two"], "want at most 1024 bytes and 64 folders")
	few := hostilepod.Named("xcode", 500)["excludes of no volume"]
	_, err := mutate(few)
	if err == nil || !strings.HasSuffix(err.Error(), ", and more") || strings.Count(err.Error(), "the Pod has no volume") != 8 {
		t.Errorf("%v", err)
	}
	few.Annotations[v1alpha1.AnnotationExclude] = strings.Repeat("x\n", 513)
	denied(t, few, "outrigger.dev/exclude: has 513 patterns, want at most 512")
}
