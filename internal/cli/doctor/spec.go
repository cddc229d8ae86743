package doctor

import (
	"encoding/json"
	"os"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"outrigger.dev/outrigger/internal/doctor/look"
	"outrigger.dev/outrigger/internal/fault"
)

// What the Pod and its parts are called.
const (
	podName      = "outrigger-doctor"
	podContainer = "doctor"
	podLabels    = "app.kubernetes.io/name=outrigger-doctor"
	orderDir     = "/etc/outrigger-doctor"
	orderFile    = "order.json"
	podUser      = 65532 // as the controller's
)

// podOf is a Pod that the profile "restricted" of Pod Security admits: nobody in particular,
// without a token of the cluster, and at an end by itself.
func podOf(name, namespace, image string) *corev1.Pod {
	user, no, yes, life, grace := int64(podUser), false, true, int64(podLife.Seconds()), int64(1)
	return &corev1.Pod{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"},
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: namespace, Labels: map[string]string{
			"app.kubernetes.io/name": podName, "app.kubernetes.io/part-of": "outrigger",
		}},
		Spec: corev1.PodSpec{
			RestartPolicy: corev1.RestartPolicyNever, ActiveDeadlineSeconds: &life, TerminationGracePeriodSeconds: &grace,
			AutomountServiceAccountToken: &no, EnableServiceLinks: &no,
			NodeSelector: map[string]string{corev1.LabelOSStable: "linux"},
			SecurityContext: &corev1.PodSecurityContext{
				RunAsNonRoot: &yes, RunAsUser: &user, RunAsGroup: &user, FSGroup: &user,
				SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
			},
			Containers: []corev1.Container{{
				Name: podContainer, Image: image,
				Command: []string{"/outrigger/bin/outrigger", "doctor", "--order", orderDir + "/" + orderFile, "--output", "json"},
				Env:     []corev1.EnvVar{{Name: "HOME", Value: "/tmp"}},
				Resources: corev1.ResourceRequirements{
					Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("50m"), corev1.ResourceMemory: resource.MustParse("64Mi")},
					Limits:   corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("256Mi")},
				},
				SecurityContext: &corev1.SecurityContext{
					AllowPrivilegeEscalation: &no, ReadOnlyRootFilesystem: &yes, Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
				},
				VolumeMounts: []corev1.VolumeMount{{Name: "order", MountPath: orderDir, ReadOnly: true}, {Name: "tmp", MountPath: "/tmp"}},
			}},
			Volumes: []corev1.Volume{
				{Name: "order", VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: name}}},
				{Name: "tmp", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}},
			},
		},
	}
}

// secretOf holds what the Pod is to look at, until the Pod goes.
func secretOf(pod *corev1.Pod, order look.Order) (*corev1.Secret, error) {
	data, err := json.Marshal(order)
	if err != nil {
		return nil, fault.New(fault.Internal, "doctor: order: %w", err)
	}
	return &corev1.Secret{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Secret"},
		ObjectMeta: metav1.ObjectMeta{Name: pod.Name, Namespace: pod.Namespace, Labels: pod.Labels},
		Data:       map[string][]byte{orderFile: data},
	}, nil
}

// own makes the Secret go with the Pod, also if we are killed.
func own(s *corev1.Secret, pod *corev1.Pod) {
	s.OwnerReferences = []metav1.OwnerReference{{APIVersion: "v1", Kind: "Pod", Name: pod.Name, UID: pod.UID}}
}

func readOrder(file string) (look.Order, error) {
	var o look.Order
	b, err := os.ReadFile(file)
	if err == nil {
		err = json.Unmarshal(b, &o)
	}
	if err != nil {
		return o, fault.New(fault.LocalFile, "doctor: order: %w", err)
	}
	return o, nil
}

func tempDir() (dir string, done func(), err error) {
	dir, err = os.MkdirTemp("", "outrigger-doctor-")
	if err != nil {
		return "", nil, fault.New(fault.LocalFile, "doctor: %w", err)
	}
	return dir, func() { _ = os.RemoveAll(dir) }, nil // what stays is small, and in the folder for what may
}
