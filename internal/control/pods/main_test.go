//go:build linux

package pods_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
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
	"outrigger.dev/outrigger/internal/admit"
	"outrigger.dev/outrigger/internal/control/manager"
	"outrigger.dev/outrigger/internal/control/pools"
	"outrigger.dev/outrigger/internal/handoff"
	"outrigger.dev/outrigger/test/apiserver"
	"outrigger.dev/outrigger/test/cloud"
	"outrigger.dev/outrigger/test/controller"
)

var server *apiserver.Server

func TestMain(m *testing.M) { apiserver.Main(m, &server) }

// A world is a controller with a cloud, and a client that is the user, and the kubelet, of
// which there is none. Its pool and its namespace have a name of their own.
type world struct {
	*testing.T
	client.Client
	cloud *cloud.Cloud
	ready *cloud.Readier
	pool  string
	ns    *corev1.Namespace

	rights    sync.Once
	meanwhile func() // is called while the world waits for a fact
}

var worlds atomic.Int64

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{T: t, cloud: &cloud.Cloud{Dir: t.TempDir()}, ready: &cloud.Readier{}, pool: fmt.Sprintf("pods-%d", worlds.Add(1)), meanwhile: func() {}}
	w.must(w.cloud.Init())
	var err error
	w.Client, err = client.New(server.Config(), client.Options{Scheme: server.Scheme()})
	w.must(err)
	w.ns = &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: w.pool}}
	w.must(w.Create(w.Context(), w.ns))
	w.must(w.Create(w.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: w.home()}}))
	return w
}

// home is the controller's own namespace.
func (w *world) home() string { return w.pool + "-system" }

func (w *world) must(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

// control runs a controller until the test ends or stop is called.
func (w *world) control() (stop func()) { return w.controlBy(w.config()) }

func (w *world) controlBy(config *rest.Config) (stop func()) {
	w.Helper()
	return controller.Start(w.T, config, manager.Options{
		Namespace: w.home(), ClusterID: "test",
		Places: cloud.Places{Cloud: w.cloud}, Readier: w.ready,
		Times: pools.Times{Backoff: 50 * time.Millisecond, Herald: 20 * time.Millisecond, Survey: 100 * time.Millisecond},
	})
}

// makePool makes the world's pool.
func (w *world) makePool(warm, max int32) {
	w.Helper()
	p := &v1alpha1.MachinePool{ObjectMeta: metav1.ObjectMeta{Name: w.pool}, Spec: v1alpha1.MachinePoolSpec{
		OS: "linux", Arch: "amd64", Provider: v1alpha1.ProviderSpec{Local: &v1alpha1.LocalProvider{}}, Warm: &warm, Max: max,
	}}
	w.must(w.Create(w.Context(), p))
	w.Cleanup(func() {
		// The next test's controller sees all pools of the server.
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

func (w *world) machines() []v1alpha1.Machine {
	w.Helper()
	var all v1alpha1.MachineList
	w.must(w.List(context.WithoutCancel(w.Context()), &all, client.MatchingLabels{v1alpha1.LabelPool: w.pool}))
	return all.Items
}

// held counts the machines that a claim has.
func (w *world) held() int {
	n := 0
	for _, m := range w.machines() {
		if m.Spec.Claim != nil {
			n++
		}
	}
	return n
}

func (w *world) idle() int {
	n := 0
	for _, m := range w.machines() {
		if m.Status.Phase == v1alpha1.MachineIdle && m.Spec.Claim == nil {
			n++
		}
	}
	return n
}

// warm waits for an idle machine.
func (w *world) warm() {
	w.Helper()
	w.eventually("a machine is idle", func() bool { return w.idle() > 0 })
}

// marked is a Pod as the webhook makes it of a user's: a command "build", and a sidecar on Linux.
func (w *world) marked(name string, change func(*corev1.Pod)) *corev1.Pod {
	w.Helper()
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.pool, Name: name, Annotations: map[string]string{
			v1alpha1.AnnotationPool: w.pool, v1alpha1.AnnotationContainers: "!log",
		}},
		Spec: corev1.PodSpec{
			RestartPolicy: corev1.RestartPolicyNever,
			Containers: []corev1.Container{
				{Name: "build", Image: "mac", Command: []string{"make"}},
				{Name: "log", Image: "linux"},
			},
		},
	}
	if change != nil {
		change(pod)
	}
	out, err := admit.Mutate(w.Context().Err, pod, admit.Namespace{Namespace: w.ns}, []admit.Pool{{Name: w.pool, OS: "linux", Arch: "amd64"}}, admit.Config{RelayImage: "relay"},
		func() string { return fmt.Sprintf("%05x", rand.IntN(1<<20)) })
	w.must(err)
	return out
}

// pod makes a marked Pod.
func (w *world) pod(name string, change func(*corev1.Pod)) *corev1.Pod {
	w.Helper()
	pod := w.marked(name, change)
	w.must(w.Create(w.Context(), pod))
	return pod
}

func (w *world) reload(pod *corev1.Pod) *corev1.Pod {
	w.Helper()
	w.must(w.Get(w.Context(), client.ObjectKeyFromObject(pod), pod))
	return pod
}

func isGated(pod *corev1.Pod) bool { return len(pod.Spec.SchedulingGates) > 0 }

// begins waits until the Pod may be scheduled, and schedules it.
func (w *world) begins(pod *corev1.Pod) {
	w.Helper()
	w.eventually("the gate of "+pod.Name+" is lifted", func() bool { return !isGated(w.reload(pod)) })
	w.must(w.SubResource("binding").Create(w.Context(), pod, &corev1.Binding{Target: corev1.ObjectReference{Kind: "Node", Name: "node"}}))
	w.status(pod, func(st *corev1.PodStatus) { st.Phase = corev1.PodRunning })
}

// status writes the Pod's status, as its kubelet does.
func (w *world) status(pod *corev1.Pod, change func(*corev1.PodStatus)) {
	w.Helper()
	w.eventually("status of "+pod.Name, func() bool {
		change(&w.reload(pod).Status)
		return w.Status().Update(w.Context(), pod) == nil
	})
}

// ends lets containers of the Pod end, each "NAME=EXITCODE".
func (w *world) ends(pod *corev1.Pod, containers ...string) {
	w.Helper()
	w.status(pod, func(st *corev1.PodStatus) {
		for _, one := range containers {
			var code int32
			name, text, _ := strings.Cut(one, "=")
			_, err := fmt.Sscan(text, &code)
			w.must(err)
			st.ContainerStatuses = append(st.ContainerStatuses, corev1.ContainerStatus{Name: name, State: corev1.ContainerState{
				Terminated: &corev1.ContainerStateTerminated{ExitCode: code, FinishedAt: metav1.Now()},
			}})
		}
	})
}

// remove deletes the Pod at once, as its kubelet does in the end and kubectl delete --force does.
func (w *world) remove(pod *corev1.Pod) {
	w.Helper()
	w.must(client.IgnoreNotFound(w.Client.Delete(w.Context(), pod, client.GracePeriodSeconds(0))))
}

// claim returns the claim of the Pod, or nil.
func (w *world) claim(pod *corev1.Pod) *v1alpha1.MachineClaim {
	w.Helper()
	var c v1alpha1.MachineClaim
	err := w.Get(w.Context(), client.ObjectKey{Namespace: pod.Namespace, Name: pod.Labels[v1alpha1.LabelClaim]}, &c)
	if apierrors.IsNotFound(err) {
		return nil
	}
	w.must(err)
	return &c
}

func (w *world) phase(pod *corev1.Pod) v1alpha1.ClaimPhase {
	w.Helper()
	if c := w.claim(pod); c != nil {
		return c.Status.Phase
	}
	return "none"
}

func (w *world) becomes(pod *corev1.Pod, phase v1alpha1.ClaimPhase) {
	w.Helper()
	w.eventually("the claim of "+pod.Name+" is "+string(phase), func() bool { return w.phase(pod) == phase })
}

// secret returns what the Pod's relays would be given, or nil.
func (w *world) secret(pod *corev1.Pod) *handoff.Claim {
	w.Helper()
	name := ""
	for _, v := range pod.Spec.Volumes {
		if v.Name == handoff.VolumeClaim {
			name = v.Secret.SecretName
		}
	}
	var s corev1.Secret
	err := w.Get(w.Context(), client.ObjectKey{Namespace: pod.Namespace, Name: name}, &s)
	if apierrors.IsNotFound(err) {
		return nil
	}
	w.must(err)
	c, err := handoff.ParseClaim(s.Data[handoff.SecretKey])
	w.must(err)
	return &c
}

// condition is how the Pod says that it stands with its machine.
func condition(pod *corev1.Pod) corev1.PodCondition {
	for _, c := range pod.Status.Conditions {
		if c.Type == v1alpha1.PodMachineBound {
			return c
		}
	}
	return corev1.PodCondition{}
}

func claimCondition(c *v1alpha1.MachineClaim, kind string) metav1.Condition {
	if c != nil {
		if x := meta.FindStatusCondition(c.Status.Conditions, kind); x != nil {
			return *x
		}
	}
	return metav1.Condition{}
}

// heard returns the notes of events about the Pod, each "REASON: NOTE".
func (w *world) heard(pod *corev1.Pod) string {
	w.Helper()
	var all eventsv1.EventList
	w.must(w.List(w.Context(), &all, client.InNamespace(pod.Namespace)))
	var text strings.Builder
	for _, e := range all.Items {
		if e.Regarding.UID == pod.UID {
			fmt.Fprintf(&text, "%s: %s\n", e.Reason, e.Note)
		}
	}
	return text.String()
}

func (w *world) hears(pod *corev1.Pod, reason, part string) {
	w.Helper()
	w.eventually(fmt.Sprintf("an event %s about %s: %s", reason, pod.Name, part), func() bool {
		for line := range strings.Lines(w.heard(pod)) {
			if strings.HasPrefix(line, reason+": ") && strings.Contains(line, part) {
				return true
			}
		}
		return false
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
		w.Logf("machine %s: %s, claim %v, %+v", m.Name, m.Status.Phase, m.Spec.Claim, m.Status.Conditions)
	}
	w.Fatalf("not within 30 s: %s", what)
}
