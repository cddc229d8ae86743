package admit_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"

	"outrigger.dev/outrigger/api/v1alpha1"
	"outrigger.dev/outrigger/internal/admit"
	"outrigger.dev/outrigger/internal/handoff"
)

// TestPropertiesOfTheCorpus holds for each Pod of the corpus what package admit promises.
func TestPropertiesOfTheCorpus(t *testing.T) {
	before, after := admitted(t)
	if len(after) < 30 {
		t.Fatalf("only %d of the corpus are admitted", len(after))
	}
	for name := range after {
		hold(t, name, before[name])
	}
}

// TestPropertiesOfAnyPod does so for Pods put together at random.
func TestPropertiesOfAnyPod(t *testing.T) {
	seen, denied := 0, map[string]int{}
	for seed := range uint64(3000) {
		pod := randomPod(rand.New(rand.NewPCG(seed, 0)))
		if _, err := mutate(pod); err != nil {
			denied[strings.Fields(err.Error())[0]]++
			continue
		}
		seen++
		hold(t, fmt.Sprintf("seed %d", seed), pod)
		if t.Failed() {
			t.FailNow()
		}
	}
	t.Logf("%d admitted, denied %v", seen, denied)
	if seen < 1000 {
		t.Errorf("only %d of 3000 Pods were admitted", seen)
	}
}

// hold checks every promise for a Pod that is admitted.
func hold(t *testing.T, name string, pod *corev1.Pod) {
	t.Helper()
	given := pod.DeepCopy()
	once, err := mutate(pod)
	if err != nil {
		t.Errorf("%s: %v", name, err)
		return
	}
	if diff := cmp.Diff(given, pod); diff != "" {
		t.Errorf("%s: the Pod that was given is changed:\n%s", name, diff)
	}
	if !admit.Marked(pod) {
		if once != pod {
			t.Errorf("%s: is not marked, and another Pod", name)
		}
		return
	}
	if !admit.Marked(once) {
		t.Errorf("%s: is not marked any more", name)
	}
	again, err := mutate(wire(t, once))
	if err != nil {
		t.Errorf("%s: its own result is denied: %v", name, err)
		return
	}
	if diff := cmp.Diff(wire(t, once), wire(t, again)); diff != "" {
		t.Errorf("%s: a second call changes (-once +twice):\n%s", name, diff)
	}
	holdPod(t, name, once)
	holdContainers(t, name, given, once)
	holdPlans(t, name, once)
	holdMachine(t, name, given, once)
	holdRestricted(t, name, given, once)
	holdOthers(t, name, given, once)
}

// wire is the Pod as it comes back from the API server.
func wire(t *testing.T, pod *corev1.Pod) *corev1.Pod {
	t.Helper()
	b, err := json.Marshal(pod)
	if err != nil {
		t.Fatal(err)
	}
	var out corev1.Pod
	if err := json.Unmarshal(b, &out); err != nil {
		t.Fatal(err)
	}
	return &out
}

// holdPod: it waits for its machine, and then for a Linux node.
func holdPod(t *testing.T, name string, pod *corev1.Pod) {
	t.Helper()
	if n := count(pod.Spec.SchedulingGates, func(g corev1.PodSchedulingGate) bool { return g.Name == v1alpha1.Gate }); n != 1 {
		t.Errorf("%s: %d gates of ours", name, n)
	}
	if claim := pod.Labels[v1alpha1.LabelClaim]; len(validation.IsDNS1123Label(claim)) > 0 {
		t.Errorf("%s: claim %q is no DNS label", name, claim)
	}
	if got := pod.Spec.NodeSelector[corev1.LabelOSStable]; got != "linux" {
		t.Errorf("%s: node selector for %q", name, got)
	}
	if pod.Spec.OS != nil && pod.Spec.OS.Name != corev1.Linux {
		t.Errorf("%s: os %s", name, pod.Spec.OS.Name)
	}
	var request v1alpha1.MachineClaimSpec
	if err := json.Unmarshal([]byte(pod.Annotations[v1alpha1.AnnotationRequest]), &request); err != nil || request.Pool == "" || request.Pool != pod.Annotations[v1alpha1.AnnotationPool] {
		t.Errorf("%s: request %s: %v", name, pod.Annotations[v1alpha1.AnnotationRequest], err)
	}
	for volume, n := range map[string]int{handoff.VolumeClaim: 1, handoff.VolumeState: 1} {
		if got := count(pod.Spec.Volumes, func(v corev1.Volume) bool { return v.Name == volume }); got != n {
			t.Errorf("%s: volume %s is there %d times", name, volume, got)
		}
	}
}

// holdContainers: those that stay are as they were, in the order that they were; the others run the relay.
func holdContainers(t *testing.T, name string, given, pod *corev1.Pod) {
	t.Helper()
	if diff := cmp.Diff(staying(given.Spec.InitContainers), staying(pod.Spec.InitContainers)); diff != "" {
		t.Errorf("%s: init containers:\n%s", name, diff)
	}
	if len(given.Spec.Containers) != len(pod.Spec.Containers) {
		t.Errorf("%s: %d containers of %d", name, len(pod.Spec.Containers), len(given.Spec.Containers))
		return
	}
	moved := plans(t, pod)
	if len(moved) == 0 {
		t.Errorf("%s: no container runs on the machine", name)
	}
	var images map[string]string
	if err := json.Unmarshal([]byte(pod.Annotations[v1alpha1.AnnotationImages]), &images); err != nil {
		t.Errorf("%s: images: %v", name, err)
	}
	for i, c := range pod.Spec.Containers {
		was := given.Spec.Containers[i]
		if _, ok := moved[c.Name]; !ok {
			if diff := cmp.Diff(staying([]corev1.Container{was}), staying([]corev1.Container{c})); diff != "" {
				t.Errorf("%s: container %s stays on Linux, and is changed:\n%s", name, c.Name, diff)
			}
			continue
		}
		if c.Image != "relay:test" || images[c.Name] != was.Image {
			t.Errorf("%s: container %s: image %s, was %s, recorded %s", name, c.Name, c.Image, was.Image, images[c.Name])
		}
		// What the relay executes is what the container would have.
		run := slices.Concat(c.Command, c.Args)
		i := slices.Index(run, handoff.BinRelay)
		if i < 0 {
			t.Errorf("%s: container %s runs %q", name, c.Name, run)
			continue
		}
		wanted := slices.Concat(was.Command, was.Args)
		if got := slices.Concat(run[:i], without(run[i:])); !slices.Equal(got, wanted) {
			t.Errorf("%s: container %s runs %q, was %q", name, c.Name, got, wanted)
		}
		if c.WorkingDir != was.WorkingDir || c.TerminationMessagePath != was.TerminationMessagePath || c.TTY != was.TTY || c.Stdin != was.Stdin || len(c.Ports) != len(was.Ports) {
			t.Errorf("%s: container %s: more is changed than needs be", name, c.Name)
		}
		if n := len(c.Env) - len(was.Env); n != 1 || !slices.EqualFunc(was.Env, c.Env[:len(was.Env)], sameVariable) {
			t.Errorf("%s: container %s: environment %v, was %v", name, c.Name, c.Env, was.Env)
		}
	}
}

// sameVariable: one that says what the container may use may be written out.
func sameVariable(was, is corev1.EnvVar) bool {
	written := was.ValueFrom != nil && was.ValueFrom.ResourceFieldRef != nil && is.ValueFrom == nil
	return was.Name == is.Name && (was.Value == is.Value || written)
}

// without takes the relay, "run", "--" away. Tekton's entrypoint has another "--" between command and arguments.
func without(run []string) []string {
	rest := run[1:]
	if rest[0] == "--" {
		return append([]string{rest[3]}, append([]string{"--"}, rest[4:]...)...)
	}
	return rest[2:]
}

// staying is what must not change of containers that stay on Linux; what only a Windows node reads may go.
func staying(containers []corev1.Container) []corev1.Container {
	out := make([]corev1.Container, len(containers))
	for i, c := range containers {
		out[i] = *c.DeepCopy()
		if out[i].SecurityContext != nil {
			out[i].SecurityContext.WindowsOptions = nil
		}
	}
	return out
}

// holdPlans: every mount is in at most one view, and what may not leave the Pod is in none.
func holdPlans(t *testing.T, name string, pod *corev1.Pod) {
	t.Helper()
	views := map[string]string{}
	for container, plan := range plans(t, pod) {
		if plan.Container != container || plan.Version != handoff.Version {
			t.Errorf("%s: plan of %s for %s", name, container, plan.Container)
		}
		seen := map[string]string{}
		for _, v := range plan.Views {
			for _, m := range v.Mounts {
				if other := seen[m.Path]; other != "" {
					t.Errorf("%s: %s: %s is in the views %s and %s", name, container, m.Path, other, v.ID)
				}
				seen[m.Path] = v.ID
				if m.Path != path.Clean(m.Path) || !path.IsAbs(m.Path) {
					t.Errorf("%s: %s: mount path %q", name, container, m.Path)
				}
				for _, secret := range []string{"/var/run/secrets/kubernetes.io/serviceaccount", handoff.Dir, "/tekton/bin", "/tekton/downward"} {
					if m.Path == secret || strings.HasPrefix(m.Path, secret+"/") {
						t.Errorf("%s: %s: %s goes to the machine", name, container, m.Path)
					}
				}
			}
			// The same in all containers that see it, apart from the way.
			text := fmt.Sprint(v.Mounts, v.Live)
			if other, ok := views[v.ID]; ok && other != text {
				t.Errorf("%s: view %s is %s and %s", name, v.ID, other, text)
			}
			views[v.ID] = text
		}
	}
}

// holdMachine: nothing that asks for the machine is asked of a node.
func holdMachine(t *testing.T, name string, given, pod *corev1.Pod) {
	t.Helper()
	for key, value := range given.Spec.NodeSelector {
		if !strings.HasPrefix(key, "kubernetes.io/") && !strings.HasPrefix(key, "outrigger.dev/") && pod.Spec.NodeSelector[key] != value {
			t.Errorf("%s: node selector %s is lost", name, key)
		}
	}
	for key := range pod.Spec.NodeSelector {
		if strings.HasPrefix(key, "outrigger.dev/") {
			t.Errorf("%s: no node has %s", name, key)
		}
	}
}

// holdRestricted: what satisfied the restricted profile still does (the API server's own word is in package
// webhook's tests), and no relay has more rights than the container had.
func holdRestricted(t *testing.T, name string, given, pod *corev1.Pod) {
	t.Helper()
	for i, c := range pod.Spec.Containers {
		s := c.SecurityContext
		if _, moved := plans(t, pod)[c.Name]; !moved {
			continue
		}
		if s == nil || s.Privileged != nil || s.ProcMount != nil || s.AllowPrivilegeEscalation == nil || *s.AllowPrivilegeEscalation {
			t.Errorf("%s: container %s: %+v", name, c.Name, s)
			continue
		}
		var had []corev1.Capability
		if w := given.Spec.Containers[i].SecurityContext; w != nil && w.Capabilities != nil {
			had = w.Capabilities.Add
		}
		if s.Capabilities != nil {
			for _, added := range s.Capabilities.Add {
				if !slices.Contains(had, added) {
					t.Errorf("%s: container %s got %s", name, c.Name, added)
				}
			}
		}
	}
}

// holdOthers: of what another webhook adds afterwards, the relays hear, and the rest is left alone.
func holdOthers(t *testing.T, name string, given, once *corev1.Pod) {
	t.Helper()
	meshed := wire(t, once)
	relayed := slices.IndexFunc(meshed.Spec.Containers, func(c corev1.Container) bool { return c.Image == "relay:test" })
	if relayed < 0 {
		return
	}
	c := &meshed.Spec.Containers[relayed]
	c.Env = append(c.Env, corev1.EnvVar{Name: "MESH", Value: "on"})
	meshed.Spec.Containers = append(meshed.Spec.Containers, corev1.Container{Name: "mesh-proxy", Image: "proxy"})
	out, err := mutate(meshed)
	if err != nil {
		t.Errorf("%s: with a sidecar of somebody else: %v", name, err)
		return
	}
	if plan := plans(t, out)[c.Name]; !slices.Contains(plan.Env, "MESH") {
		t.Errorf("%s: the relay does not know MESH: %v", name, plan.Env)
	}
	last := out.Spec.Containers[len(out.Spec.Containers)-1]
	if diff := cmp.Diff(corev1.Container{Name: "mesh-proxy", Image: "proxy"}, last); diff != "" {
		t.Errorf("%s: the sidecar is changed:\n%s", name, diff)
	}
	if out.Labels[v1alpha1.LabelClaim] != once.Labels[v1alpha1.LabelClaim] || out.Annotations[v1alpha1.AnnotationRequest] != once.Annotations[v1alpha1.AnnotationRequest] {
		t.Errorf("%s: another claim: %v, %v", name, out.Labels, out.Annotations)
	}
}

func count[T any](all []T, is func(T) bool) (n int) {
	for _, x := range all {
		if is(x) {
			n++
		}
	}
	return n
}

// randomPod puts a Pod together from what Pods have.
func randomPod(r *rand.Rand) *corev1.Pod {
	maybe := func(n int) bool { return r.IntN(n) == 0 }
	pick := func(words ...string) string { return words[r.IntN(len(words))] }
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: pick("p", "", "a.b", strings.Repeat("long-", 20)+"x"), GenerateName: pick("g-", "x.y-"), Annotations: map[string]string{}}}
	if maybe(10) {
		pod.Spec.NodeSelector = map[string]string{"disk": "ssd"}
	} else if maybe(2) {
		pod.Spec.NodeSelector = map[string]string{corev1.LabelOSStable: pick("darwin", "linux"), "disk": "ssd"}
	}
	if !maybe(8) {
		pod.Annotations[v1alpha1.AnnotationPool] = pick("xcode", "xcode", "xcode", "linux")
	}
	if maybe(3) {
		pod.Annotations[v1alpha1.AnnotationExclude] = pick("*.o", "v0:/a", "v1:b/\n!c")
	}
	if maybe(4) {
		pod.Annotations[v1alpha1.AnnotationSyncPrefix+"v0"] = pick("up", "none", "both")
	}
	if maybe(4) {
		pod.Annotations[v1alpha1.AnnotationNetwork] = "cluster"
	}
	if maybe(4) {
		pod.Annotations[v1alpha1.AnnotationContainers] = pick("*", "c0", "!c1", "c0,c1")
	}
	for i := range 3 {
		v := corev1.Volume{Name: fmt.Sprint("v", i)}
		switch r.IntN(4) {
		case 0:
			v.Secret = &corev1.SecretVolumeSource{SecretName: "s"}
		case 1:
			v.PersistentVolumeClaim = &corev1.PersistentVolumeClaimVolumeSource{ClaimName: "c", ReadOnly: maybe(3)}
		default:
			v.EmptyDir = &corev1.EmptyDirVolumeSource{}
		}
		pod.Spec.Volumes = append(pod.Spec.Volumes, v)
	}
	if maybe(3) {
		pod.Spec.SecurityContext = &corev1.PodSecurityContext{RunAsNonRoot: new(maybe(2))}
	}
	if maybe(4) {
		pod.Spec.Tolerations = []corev1.Toleration{{Key: pick("os", "team"), Value: "darwin"}, {Operator: corev1.TolerationOpExists}}
	}
	if maybe(5) {
		pod.Spec.InitContainers = []corev1.Container{{Name: "init", Image: "i", SecurityContext: &corev1.SecurityContext{Privileged: new(true)}}}
	}
	for i := range 1 + r.IntN(3) {
		pod.Spec.Containers = append(pod.Spec.Containers, randomContainer(r, i))
	}
	return pod
}

func randomContainer(r *rand.Rand, i int) corev1.Container {
	maybe := func(n int) bool { return r.IntN(n) == 0 }
	c := corev1.Container{Name: fmt.Sprint("c", i), Image: fmt.Sprint("image", i), Command: []string{"run", "$(A)", "--"}}
	if maybe(3) {
		c.Args = []string{"--", "x"}
	}
	if maybe(12) {
		c.Command = nil
	}
	for j := range 3 {
		at := []string{"/a", "/a/b", "/c/", "/var/run/secrets/kubernetes.io/serviceaccount"}[(i*r.IntN(2)+j)%4]
		taken := slices.ContainsFunc(c.VolumeMounts, func(m corev1.VolumeMount) bool { return m.MountPath == at })
		if maybe(3) && !taken { // the API server wants them to differ
			c.VolumeMounts = append(c.VolumeMounts, corev1.VolumeMount{Name: fmt.Sprint("v", j), MountPath: at, ReadOnly: maybe(3)})
		}
	}
	for range r.IntN(3) {
		c.Env = append(c.Env, corev1.EnvVar{Name: []string{"A", "B"}[r.IntN(2)], Value: "$(A)$$"})
	}
	if maybe(3) {
		c.Ports = []corev1.ContainerPort{{ContainerPort: int32(8000 + i)}, {ContainerPort: 53, Protocol: corev1.ProtocolUDP}}
	}
	if maybe(3) {
		c.SecurityContext = &corev1.SecurityContext{Privileged: new(maybe(2)), Capabilities: &corev1.Capabilities{Add: []corev1.Capability{"SYS_ADMIN", "CHOWN", "NET_BIND_SERVICE"}}}
	}
	if maybe(4) {
		c.SecurityContext = &corev1.SecurityContext{RunAsUser: new(int64(r.IntN(2) * 1000))}
	}
	if maybe(3) {
		c.Resources.Requests = corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("2"), corev1.ResourceEphemeralStorage: resource.MustParse("1Gi")}
	}
	if maybe(3) {
		c.Resources.Limits = corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("4")}
	}
	if maybe(4) {
		c.LivenessProbe = &corev1.Probe{ProbeHandler: corev1.ProbeHandler{Exec: &corev1.ExecAction{Command: []string{"true"}}}}
		c.Lifecycle = &corev1.Lifecycle{PreStop: &corev1.LifecycleHandler{Exec: &corev1.ExecAction{Command: []string{"stop"}}}}
	}
	return c
}
