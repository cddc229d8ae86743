package admit

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"outrigger.dev/outrigger/api/v1alpha1"
	"outrigger.dev/outrigger/internal/handoff"
)

// networked is a Pod with a server that runs on the machine, and two sidecars.
func networked(annotations map[string]string) *corev1.Pod {
	always := corev1.ContainerRestartPolicyAlways
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "p", Namespace: "ns", Annotations: map[string]string{
			v1alpha1.AnnotationPool: "mac", v1alpha1.AnnotationContainers: "main",
		}},
		Spec: corev1.PodSpec{
			InitContainers: []corev1.Container{
				{Name: "setup", Image: "x", Ports: []corev1.ContainerPort{{ContainerPort: 1}}},
				{Name: "native", Image: "x", RestartPolicy: &always, Ports: []corev1.ContainerPort{{ContainerPort: 6379}}},
			},
			Containers: []corev1.Container{
				{
					Name: "main", Image: "x", Command: []string{"serve"},
					Ports:         []corev1.ContainerPort{{ContainerPort: 8080, Name: "http"}, {ContainerPort: 53, Protocol: corev1.ProtocolUDP}},
					LivenessProbe: &corev1.Probe{ProbeHandler: corev1.ProbeHandler{TCPSocket: &corev1.TCPSocketAction{Port: intstr.FromInt32(9090)}}},
					Lifecycle:     &corev1.Lifecycle{PreStop: &corev1.LifecycleHandler{HTTPGet: &corev1.HTTPGetAction{Port: intstr.FromInt32(9091)}}},
				},
				{Name: "side", Image: "x", Ports: []corev1.ContainerPort{{ContainerPort: 5432}, {ContainerPort: 8080}, {ContainerPort: 53, Protocol: corev1.ProtocolUDP}}},
			},
		},
	}
	for k, v := range annotations {
		pod.Annotations[k] = v
	}
	return pod
}

func TestTheNetworkOfAPlan(t *testing.T) {
	ports := []handoff.Port{{Port: 8080, Name: "http"}, {Port: 9090}, {Port: 9091}}
	for _, tt := range []struct {
		name        string
		annotations map[string]string
		want        handoff.Plan
		denied      string
	}{
		{"ports alone", nil, handoff.Plan{Ports: ports}, ""},
		{"Services by name", map[string]string{v1alpha1.AnnotationServices: "postgres.db:5433, 8000=web:80"},
			handoff.Plan{Ports: ports, Forwards: []handoff.Forward{{Port: 5433, To: "postgres.db:5433"}, {Port: 8000, To: "web:80"}}}, ""},
		{"the cluster, and sidecars on localhost", map[string]string{v1alpha1.AnnotationNetwork: "cluster"},
			handoff.Plan{Ports: ports, Network: "cluster", Forwards: []handoff.Forward{{Port: 6379, To: "127.0.0.1:6379"}, {Port: 5432, To: "127.0.0.1:5432"}}}, ""},
		{"a Service instead of a sidecar", map[string]string{v1alpha1.AnnotationNetwork: "cluster", v1alpha1.AnnotationServices: "5432=postgres.db:5432"},
			handoff.Plan{Ports: ports, Network: "cluster", Forwards: []handoff.Forward{{Port: 5432, To: "postgres.db:5432"}, {Port: 6379, To: "127.0.0.1:6379"}}}, ""},
		{"a Service at a port that the command serves", map[string]string{v1alpha1.AnnotationServices: "web.other:8080"},
			handoff.Plan{}, "port 8080 of the machine is what container main serves there: want LOCALPORT=web.other:8080"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ns := Namespace{Namespace: &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "ns"}}}
			pod, err := Mutate(t.Context().Err, networked(tt.annotations), ns, []Pool{{Name: "mac", OS: "darwin", Arch: "arm64"}}, Config{RelayImage: "relay"}, func() string { return "x" })
			if tt.denied != "" || err != nil {
				if err == nil || !strings.Contains(err.Error(), tt.denied) || tt.denied == "" {
					t.Fatalf("got %v, want %q", err, tt.denied)
				}
				return
			}
			var got handoff.Plan
			for _, e := range pod.Spec.Containers[0].Env {
				if e.Name == handoff.PlanVariable {
					if err := json.Unmarshal([]byte(e.Value), &got); err != nil {
						t.Fatal(err)
					}
				}
			}
			got = handoff.Plan{Ports: got.Ports, Network: got.Network, Forwards: got.Forwards}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
