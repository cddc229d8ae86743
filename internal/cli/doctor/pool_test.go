//go:build linux

package doctor

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"outrigger.dev/outrigger/api/v1alpha1"
	"outrigger.dev/outrigger/internal/cli/app"
	"outrigger.dev/outrigger/internal/cli/kube"
	"outrigger.dev/outrigger/internal/cli/term"
	"outrigger.dev/outrigger/internal/devorka"
	"outrigger.dev/outrigger/internal/devorka/operator"
	"outrigger.dev/outrigger/internal/doctor/look"
	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/test/apiserver"
)

var server *apiserver.Server

func TestMain(m *testing.M) { apiserver.Main(m, &server) }

var worlds atomic.Int64

// A world is a pool of an Orka's machines in a cluster with a controller that does not run.
type world struct {
	*testing.T
	client.Client
	orka *devorka.Server
	name string // of the pool, and of the controller's namespace, where only restricted Pods are admitted
	now  func() time.Time
}

func newWorld(t *testing.T) *world {
	t.Helper()
	quick := operator.Times{Uncached: 100 * time.Millisecond, Cached: 50 * time.Millisecond, SSH: 30 * time.Millisecond, Login: 20 * time.Millisecond, End: 20 * time.Millisecond}
	s, err := devorka.Start(devorka.Config{Times: &quick, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	w := &world{T: t, orka: s, name: fmt.Sprintf("macs-%d", worlds.Add(1)), now: time.Now}
	w.Client, err = client.New(server.Config(), client.Options{Scheme: server.Scheme()})
	w.must(err)
	token, err := s.Token(devorka.Grant{Role: "orka-dev"})
	w.must(err)
	w.must(w.Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: w.name, Labels: map[string]string{"pod-security.kubernetes.io/enforce": "restricted"}}}))
	w.must(w.Create(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: w.name, Name: "orka-token"}, StringData: map[string]string{"token": token + "\n"}}))
	none := int32(0)
	w.must(w.Create(t.Context(), &v1alpha1.MachinePool{ObjectMeta: metav1.ObjectMeta{Name: w.name}, Spec: v1alpha1.MachinePoolSpec{
		OS: "darwin", Arch: "arm64", Warm: &none, Max: 2,
		Provider: v1alpha1.ProviderSpec{Orka: &v1alpha1.OrkaProvider{Endpoint: s.Endpoint(), TokenSecretName: "orka-token"}},
	}}))
	labels := map[string]string{"app.kubernetes.io/name": "outrigger-controller"}
	w.must(w.Create(t.Context(), &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.name, Name: "outrigger-controller", Labels: labels},
		Spec: appsv1.DeploymentSpec{Selector: &metav1.LabelSelector{MatchLabels: labels}, Template: corev1.PodTemplateSpec{
			ObjectMeta: metav1.ObjectMeta{Labels: labels},
			Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "controller", Image: "registry.example.com/outrigger/controller:v1"}}},
		}},
	}))
	return w
}

func (w *world) must(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

// call runs outrigger doctor for the pool.
func (w *world) call(ctx context.Context, args ...string) (string, error) {
	var out bytes.Buffer
	a := app.New(&term.IO{In: strings.NewReader(""), Out: &out, Err: &out, Environ: []string{"HOME=" + w.TempDir()}, Now: w.now})
	cmd := New(a)
	a.Flags.Add(cmd.PersistentFlags())
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	cmd.SetArgs(append(args, "--namespace", w.name, "--kubeconfig", server.Kubeconfig()))
	err := cmd.ExecuteContext(ctx)
	return out.String(), err
}

func (w *world) holds(text string, all ...string) {
	w.Helper()
	for _, want := range all {
		if !strings.Contains(text, want) {
			w.Errorf("no %q in:\n%s", want, text)
		}
	}
}

func TestPool(t *testing.T) {
	w := newWorld(t)
	out, err := w.call(t.Context(), "--pool", w.name)
	w.must(err)
	w.holds(out, "pool "+w.name+" (orka)", "ok       tcp ", "ok       token ", "ok       permission create VMs ", "skipped  ssh-port                  the pool has no machine with an address now", " 0 failed")

	_, err = w.call(t.Context(), "--pool", "nosuch")
	if !fault.Is(err, fault.UnknownPool) {
		t.Errorf("a pool that is not there: %v", err)
	}
	if _, err = w.call(t.Context(), "--pool", w.name, "--create"); !fault.Is(err, fault.Usage) {
		t.Errorf("--create for a pool: %v", err)
	}
	w.must(w.Delete(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: w.name, Name: "orka-token"}}))
	if _, err = w.call(t.Context(), "--pool", w.name); err == nil || !strings.Contains(err.Error(), "orka-token") {
		t.Errorf("a token's Secret that is not there: %v", err)
	}
}

func TestAPoolsTokenThatIsWrong(t *testing.T) {
	w := newWorld(t)
	w.must(w.orka.RotateKeys())
	out, err := w.call(t.Context(), "--pool", w.name, "--output", "json")
	var exit app.Exit
	if !errors.As(err, &exit) || exit != fault.ExitOutrigger {
		t.Errorf("the end is %v, want exit code %d", err, fault.ExitOutrigger)
	}
	var last Line
	for line := range strings.Lines(out) {
		l := Line{}
		if err := json.Unmarshal([]byte(line), &l); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		if l.Event == "check" && l.Check == "token" && (l.State != "failed" || l.Cure == "" || l.Found == "" || l.From != "here") {
			t.Errorf("token: %s", line)
		}
		last = l
	}
	if last.Event != "end" || last.Sum == nil || last.Exit != fault.ExitOutrigger || last.Sum.Failed == 0 {
		t.Errorf("the last line is %+v", last)
	}
}

// eventually waits for a Pod of a doctor in the namespace.
func (w *world) pod() *corev1.Pod {
	w.Helper()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); <-time.After(20 * time.Millisecond) {
		var list corev1.PodList
		w.must(w.List(w.Context(), &list, client.InNamespace(w.name)))
		var secrets corev1.SecretList
		w.must(w.List(w.Context(), &secrets, client.InNamespace(w.name)))
		if len(list.Items) == 1 && slices.ContainsFunc(secrets.Items, func(s corev1.Secret) bool { return s.Name == list.Items[0].Name }) {
			return &list.Items[0]
		}
	}
	w.Fatal("no Pod and no Secret of it appeared")
	return nil
}

func (w *world) nothingLeft() {
	w.Helper()
	var pods corev1.PodList
	w.must(w.List(context.WithoutCancel(w.Context()), &pods, client.InNamespace(w.name)))
	var secrets corev1.SecretList
	w.must(w.List(context.WithoutCancel(w.Context()), &secrets, client.InNamespace(w.name)))
	if len(pods.Items) != 0 || len(secrets.Items) != 1 {
		w.Errorf("%d Pods and %d Secrets are left, want none but the token's", len(pods.Items), len(secrets.Items))
	}
}

// There is no kubelet here: the test says what one would, and an image that cannot be pulled is told.
func TestAPodIsAdmittedAndAlwaysDeleted(t *testing.T) {
	w := newWorld(t)
	type end struct {
		out string
		err error
	}
	ended := make(chan end, 1)
	go func() {
		out, err := w.call(t.Context(), "--pool", w.name, "--in-cluster")
		ended <- end{out, err}
	}()
	pod := w.pod()
	if got := pod.Spec.Containers[0].Image; got != "registry.example.com/outrigger/cli:v1" {
		t.Errorf("its image is %s", got)
	}
	var secret corev1.Secret
	w.must(w.Get(t.Context(), client.ObjectKeyFromObject(pod), &secret))
	if o := secret.OwnerReferences; len(o) != 1 || o[0].UID != pod.UID {
		t.Errorf("the Secret's owners are %v: it would outlive its Pod", o)
	}
	var order look.Order
	if err := json.Unmarshal(secret.Data[orderFile], &order); err != nil || order.Orka == nil || order.Orka.Token == "" {
		t.Errorf("the order is %+v, %v", order, err)
	}
	pod.Status.ContainerStatuses = []corev1.ContainerStatus{{
		Name: podContainer, Image: pod.Spec.Containers[0].Image,
		State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "ImagePullBackOff", Message: "not found"}},
	}}
	w.must(w.Status().Update(t.Context(), pod))
	e := <-ended
	var exit app.Exit
	if !errors.As(e.err, &exit) {
		t.Errorf("the end is %v", e.err)
	}
	w.holds(e.out, "HERE     POD", "ok       -        tcp ", "failed   -        pod ", "ImagePullBackOff: not found", "--pod-image REGISTRY/cli:TAG")
	w.nothingLeft()
}

func TestACallThatIsInterruptedLeavesNoPod(t *testing.T) {
	w := newWorld(t)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		_, err := w.call(ctx, "--pool", w.name, "--in-cluster")
		ended <- err
	}()
	w.pod()
	cancel()
	if err := <-ended; err == nil {
		t.Error("it ended well")
	}
	w.nothingLeft()
}

// What a doctor has left who was killed goes with the next one.
func TestAPodThatWasLeft(t *testing.T) {
	w := newWorld(t)
	left := podOf("outrigger-doctor-left", w.name, "registry.example.com/outrigger/cli:v1")
	w.must(w.Create(t.Context(), left))
	w.now = func() time.Time { return time.Now().Add(2 * podLife) }
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_, _ = w.call(ctx, "--pool", w.name, "--in-cluster")
	}()
	for deadline := time.Now().Add(time.Minute); ; <-time.After(20 * time.Millisecond) {
		if err := w.Get(t.Context(), client.ObjectKeyFromObject(left), &corev1.Pod{}); apierrors.IsNotFound(err) {
			break
		}
		if time.Now().After(deadline) {
			t.Error("it is still there")
			break
		}
	}
	w.pod()
	cancel()
	<-ended
	w.nothingLeft()
}

func TestWhatAPodWaitsFor(t *testing.T) {
	waiting := func(reason, message string) corev1.PodStatus {
		return corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{{State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: message}}}}}
	}
	for _, tt := range []struct {
		name   string
		status corev1.PodStatus
		waits  string
		done   bool
		want   fault.Kind
	}{
		{"nobody has looked", corev1.PodStatus{}, "its node has not begun it", false, ""},
		{"no node", corev1.PodStatus{Conditions: []corev1.PodCondition{{Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: "Unschedulable", Message: "0/3 nodes"}}}, "Unschedulable: 0/3 nodes", false, ""},
		{"its image comes", waiting("ContainerCreating", ""), "ContainerCreating", false, ""},
		{"its image may yet come", waiting("ErrImagePull", "timeout"), "ErrImagePull: timeout", false, ""},
		{"its image does not come", waiting("ImagePullBackOff", "not found"), "", false, fault.UnknownImage},
		{"it cannot be", waiting("CreateContainerConfigError", "no user"), "", false, fault.ProviderRefused},
		{"it runs", corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{{State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}}}}, "", true, ""},
		{"it has ended", corev1.PodStatus{Phase: corev1.PodFailed, ContainerStatuses: []corev1.ContainerStatus{{State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{}}}}}, "", true, ""},
		{"it was evicted", corev1.PodStatus{Phase: corev1.PodFailed, Reason: "Evicted", Message: "memory"}, "", false, fault.NoCapacity},
	} {
		pod := podOf("p", "ns", "image")
		pod.Status = tt.status
		waits, done, err := stateOf(pod)
		if waits != tt.waits || done != tt.done || fault.Of(err) != tt.want {
			t.Errorf("%s: %q, %t, %v", tt.name, waits, done, err)
		}
	}
}

func TestTheImageBesideTheControllers(t *testing.T) {
	for controller, want := range map[string]string{
		"registry.example.com/outrigger/controller:v1.2": "registry.example.com/outrigger/cli:v1.2",
		"localhost:5000/controller:dev":                  "localhost:5000/cli:dev",
		"outrigger/controller@sha256:abc":                "",
		"registry.example.com/outrigger/controller":      "",
		"registry.example.com/controller:1/other:2":      "",
	} {
		if got, _ := cliBeside(controller); got != want {
			t.Errorf("beside %s: %q, want %q", controller, got, want)
		}
	}
}

// In another namespace than the controller's the Pod gets neither token nor login.
func TestSecretsStayInTheControllersNamespace(t *testing.T) {
	w := newWorld(t)
	team := w.name + "-team"
	w.must(w.Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: team}}))
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_, _ = w.call(ctx, "--pool", w.name, "--in-cluster", "--pod-namespace", team)
	}()
	there := &world{T: t, Client: w.Client, name: team}
	pod := there.pod()
	var secret corev1.Secret
	w.must(w.Get(t.Context(), client.ObjectKeyFromObject(pod), &secret))
	var order look.Order
	if err := json.Unmarshal(secret.Data[orderFile], &order); err != nil || order.Orka == nil || order.Orka.Token != "" || order.KeptBack == "" {
		t.Errorf("the order is %+v, %v", order, err)
	}
	cancel()
	<-ended
	if err := w.Get(context.WithoutCancel(t.Context()), client.ObjectKeyFromObject(pod), &secret); !apierrors.IsNotFound(err) {
		t.Errorf("the Secret is still there: %v", err)
	}
}

func TestWhatTellsWhyAPodIsCutOff(t *testing.T) {
	w := newWorld(t)
	policy := func(name string, labels map[string]string, types ...networkingv1.PolicyType) {
		w.must(w.Create(t.Context(), &networkingv1.NetworkPolicy{
			ObjectMeta: metav1.ObjectMeta{Namespace: w.name, Name: name},
			Spec:       networkingv1.NetworkPolicySpec{PodSelector: metav1.LabelSelector{MatchLabels: labels}, PolicyTypes: types},
		}))
	}
	policy("all-egress", nil, networkingv1.PolicyTypeEgress)
	policy("ours", map[string]string{"app.kubernetes.io/name": "outrigger-doctor"}, networkingv1.PolicyTypeEgress, networkingv1.PolicyTypeIngress)
	policy("ingress", nil, networkingv1.PolicyTypeIngress)
	policy("others", map[string]string{"app": "web"}, networkingv1.PolicyTypeEgress)
	agent := &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: "kube-system", Name: "ip-masq-agent"},
		Data:       map[string]string{"config": "nonMasqueradeCIDRs:\n- 10.4.0.0/14\nresyncInterval: 60s\n"},
	}
	w.must(w.Create(t.Context(), agent))
	t.Cleanup(func() { w.must(w.Delete(context.WithoutCancel(t.Context()), agent)) })
	v := visit{o: Options{Namespace: w.name, Cluster: kube.Flags{Kubeconfig: server.Kubeconfig()}}}
	var err error
	v.kube, err = v.o.Cluster.Open()
	w.must(err)
	c := v.cluster(t.Context())
	if !slices.Equal(c.Policies, []string{"all-egress", "ours"}) || !slices.Equal(c.MasqCIDRs, []string{"10.4.0.0/14"}) || c.GKE || c.MasqAgent {
		t.Errorf("found %+v", c)
	}
}
