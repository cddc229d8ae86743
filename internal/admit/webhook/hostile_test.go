package webhook

import (
	"encoding/json"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"outrigger.dev/outrigger/api/v1alpha1"
	"outrigger.dev/outrigger/internal/admit"
	"outrigger.dev/outrigger/test/hostilepod"
)

// TestPatchesOfHostilePods: a patch costs what the Pod has in bytes, whatever it is like.
func TestPatchesOfHostilePods(t *testing.T) {
	ns := admit.Namespace{Namespace: &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "ns"}}}
	patched := 0
	try := func(name string, pod *corev1.Pod) {
		out, err := admit.Mutate(t.Context().Err, pod, ns, []admit.Pool{{Name: "p", OS: "darwin", Arch: "arm64"}},
			admit.Config{RelayImage: "r"}, func() string { return "abcde" })
		if err != nil {
			return
		}
		raw, err := json.Marshal(pod)
		if err != nil {
			t.Fatal(err)
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		patch, err := patchFrom(raw, pod, out)
		runtime.ReadMemStats(&after)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		patched++
		most := uint64(96*len(raw) + 32<<20)
		if bytes := after.TotalAlloc - before.TotalAlloc; bytes > most || len(patch) > 4*len(raw)+2<<20 {
			t.Errorf("%s: a Pod of %d bytes: %d bytes of memory, want at most %d; a patch of %d", name, len(raw), bytes, most, len(patch))
		}
	}
	for _, n := range []int{40, 500} {
		for name, pod := range hostilepod.Named("p", n) {
			try(name, pod)
		}
	}
	for seed := range uint64(20) {
		try("random", hostilepod.Random(rand.New(rand.NewPCG(seed, 9)), "p"))
	}
	if patched < 10 {
		t.Errorf("only %d were admitted", patched)
	}
}

// TestPatchOfANestedPod: what our types do not know stays, however deep it is.
func TestPatchOfANestedPod(t *testing.T) {
	const depth = 2000
	deep := strings.Repeat(`{"x":`, depth) + "1" + strings.Repeat("}", depth)
	raw := []byte(`{"metadata":{"name":"p","new":` + deep + `},"spec":{"containers":[{"name":"c","image":"i","new":` + deep + `}],"new":` + deep + `}}`)
	var pod corev1.Pod
	if err := json.Unmarshal(raw, &pod); err != nil {
		t.Fatal(err)
	}
	out := pod.DeepCopy()
	out.Labels = map[string]string{"a": "b"}
	out.Spec.Containers[0].Image = "relay"
	patch, err := patchFrom(raw, &pod, out)
	if err != nil || strings.Count(string(patch), deep) != 3 || !strings.Contains(string(patch), `"image":"relay"`) {
		t.Errorf("%v, %d bytes, the nested value %d times", err, len(patch), strings.Count(string(patch), deep))
	}
	if patch, err := patchFrom(raw, &pod, pod.DeepCopy()); patch != nil || err != nil {
		t.Errorf("nothing changes: %s, %v", patch, err)
	}
}

func TestWhoseCommandsAreRoots(t *testing.T) {
	login := func(user string, change func(*v1alpha1.MachinePoolSpec)) *v1alpha1.MachinePoolSpec {
		s := &v1alpha1.MachinePoolSpec{OS: "linux", Login: &v1alpha1.LoginSpec{User: user}}
		if change != nil {
			change(s)
		}
		return s
	}
	for name, tt := range map[string]struct {
		spec *v1alpha1.MachinePoolSpec
		want bool
	}{
		"root":            {login("root", nil), true},
		"somebody":        {login("ci", nil), false},
		"no login":        {&v1alpha1.MachinePoolSpec{OS: "linux"}, false},
		"a user for each": {login("root", func(s *v1alpha1.MachinePoolSpec) { s.Trust = v1alpha1.TrustNone }), false},
		"shared":          {login("root", func(s *v1alpha1.MachinePoolSpec) { s.Trust = v1alpha1.TrustShared }), true},
		"accepted":        {login("root", func(s *v1alpha1.MachinePoolSpec) { s.NonRootPods = v1alpha1.NonRootAccept }), false},
		"refused":         {login("root", func(s *v1alpha1.MachinePoolSpec) { s.NonRootPods = v1alpha1.NonRootRefuse }), true},
		"no such user":    {login("root", func(s *v1alpha1.MachinePoolSpec) { s.OS = "windows" }), false},
	} {
		if got := runsAsRoot(tt.spec); got != tt.want {
			t.Errorf("%s: %t, want %t", name, got, tt.want)
		}
	}
}
