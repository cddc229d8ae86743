package admit_test

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/yaml"

	"outrigger.dev/outrigger/api/v1alpha1"
	"outrigger.dev/outrigger/internal/admit"
	"outrigger.dev/outrigger/internal/handoff"
)

var update = flag.Bool("update", false, "write the golden files")

// pools are those of the tests. Only signing is not for everybody.
func pools() []admit.Pool {
	ios, err := labels.Parse("team=ios")
	if err != nil {
		panic(err)
	}
	return []admit.Pool{
		{Name: "xcode", OS: "darwin", Arch: "arm64", Labels: map[string]string{"outrigger.dev/xcode": "16", "rack": "7"}},
		{Name: "signing", OS: "darwin", Arch: "arm64", Namespaces: ios},
		{Name: "windows", OS: "windows", Arch: "amd64"},
		{Name: "linux", OS: "linux", Arch: "amd64"},
	}
}

func mutate(pod *corev1.Pod) (*corev1.Pod, error) { return mutateOf(pod, pools()...) }

func mutateOf(pod *corev1.Pod, pools ...admit.Pool) (*corev1.Pod, error) {
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "team", Labels: map[string]string{"team": "web"}}}
	return admit.Mutate(context.Background().Err, pod, admit.Namespace{Namespace: ns}, pools, admit.Config{RelayImage: "relay:test"}, func() string { return "abcde" })
}

// parse reads a Pod, of which all must be known.
func parse(t testing.TB, text string) *corev1.Pod {
	t.Helper()
	var pod corev1.Pod
	if err := yaml.UnmarshalStrict([]byte(text), &pod); err != nil {
		t.Fatal(err)
	}
	return &pod
}

// corpus are the Pods of testdata: those that people write, and those that Tekton made.
func corpus(t testing.TB) map[string]*corev1.Pod {
	t.Helper()
	all := map[string]*corev1.Pod{}
	for _, dir := range []string{"pods", "tekton"} {
		files, err := filepath.Glob(filepath.Join("testdata", dir, "*.yaml"))
		if err != nil || len(files) == 0 {
			t.Fatalf("testdata/%s: %d files, %v", dir, len(files), err)
		}
		for _, file := range files {
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			pod := parse(t, string(b))
			if dir == "tekton" { // were made on the node; Tekton copies the Task's mark
				pod.Annotations[v1alpha1.AnnotationPool] = "xcode"
			}
			all[dir+"/"+strings.TrimSuffix(filepath.Base(file), ".yaml")] = pod
		}
	}
	return all
}

// admitted are those of the corpus that are, with what became of them.
func admitted(t testing.TB) (before, after map[string]*corev1.Pod) {
	t.Helper()
	before, after = map[string]*corev1.Pod{}, map[string]*corev1.Pod{}
	for name, pod := range corpus(t) {
		if out, err := mutate(pod); err == nil {
			before[name], after[name] = pod, out
		}
	}
	return before, after
}

// plans are those of the Pod's relayed containers.
func plans(t testing.TB, pod *corev1.Pod) map[string]handoff.Plan {
	t.Helper()
	all := map[string]handoff.Plan{}
	for _, c := range pod.Spec.Containers {
		for _, e := range c.Env {
			if e.Name != handoff.PlanVariable {
				continue
			}
			plan, err := handoff.ParsePlan([]byte(expanded(e.Value)))
			if err != nil {
				t.Fatalf("%s: %v", c.Name, err)
			}
			all[c.Name] = plan
		}
	}
	return all
}

// expanded is what the kubelet makes of a value that refers to no variable.
func expanded(value string) string { return strings.ReplaceAll(value, "$$", "$") }

// TestGolden compares what becomes of the corpus. A plan is shown behind its Pod, as it is easier read there.
func TestGolden(t *testing.T) {
	wanted := map[string]bool{}
	for name, pod := range corpus(t) {
		file := filepath.Join("testdata", "golden", name+".yaml")
		wanted[file] = true
		got := golden(t, pod)
		if *update {
			if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(file, got, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatalf("%v; -update writes it", err)
		}
		if !bytes.Equal(want, got) {
			t.Errorf("%s is not what becomes of the Pod; -update writes it, git diff shows it:\n%s", file, got)
		}
	}
	files, err := filepath.Glob("testdata/golden/*/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if !wanted[file] {
			t.Errorf("%s: of no Pod", file)
		}
	}
}

func golden(t *testing.T, pod *corev1.Pod) []byte {
	t.Helper()
	out, err := mutate(pod)
	if err != nil {
		return []byte("# denied\n" + err.Error() + "\n")
	}
	if out == pod {
		return []byte("# not marked\n")
	}
	found := plans(t, out)
	for i := range out.Spec.Containers {
		for j := range out.Spec.Containers[i].Env {
			if e := &out.Spec.Containers[i].Env[j]; e.Name == handoff.PlanVariable {
				e.Value = "see below"
			}
		}
	}
	var b bytes.Buffer
	write := func(v any) {
		text, err := json.Marshal(v) // as Kubernetes writes its types
		if err == nil {
			text, err = yaml.JSONToYAML(text)
		}
		if err != nil {
			t.Fatal(err)
		}
		b.Write(text)
	}
	write(out)
	for _, c := range out.Spec.Containers {
		if plan, ok := found[c.Name]; ok {
			b.WriteString("---\n")
			write(plan)
		}
	}
	return b.Bytes()
}
