package user

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// A Namespace is where one test works.
type Namespace struct {
	*Cluster
	Name string
}

// setUp bounds what the control plane does for a new namespace.
const setUp = 3 * time.Minute

// Namespace makes one and waits until Pods can start in it.
func (c *Cluster) Namespace(ctx context.Context, name string, labels map[string]string) (*Namespace, error) {
	object := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels}}
	if err := Await(ctx, setUp, func(ctx context.Context) (string, error) {
		_, err := c.Typed.CoreV1().Namespaces().Create(ctx, object, metav1.CreateOptions{})
		if !apierrors.IsAlreadyExists(err) {
			return "", err
		}
		// One that an earlier run has left goes first; it takes what is in it along.
		err = c.Typed.CoreV1().Namespaces().Delete(ctx, name, metav1.DeleteOptions{})
		if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
			return "", err
		}
		return "namespace " + name + " of an earlier run is still there", nil
	}); err != nil {
		return nil, err
	}
	n := &Namespace{Cluster: c, Name: name}
	return n, Await(ctx, setUp, func(ctx context.Context) (string, error) {
		_, err := c.Typed.CoreV1().ServiceAccounts(name).Get(ctx, "default", metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return "namespace " + name + " has no service account", nil
		}
		return "", err
	})
}

// Delete deletes the namespace and all in it, and does not wait for that.
func (n *Namespace) Delete(ctx context.Context) error {
	err := n.Typed.CoreV1().Namespaces().Delete(ctx, n.Name, metav1.DeleteOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}

// Create creates the objects in their order.
func (n *Namespace) Create(ctx context.Context, objects ...*unstructured.Unstructured) error {
	for _, o := range objects {
		gvk := o.GroupVersionKind()
		resource, err := n.resource(gvk.GroupKind(), n.Name, gvk.Version)
		if err != nil {
			return fmt.Errorf("%s %s: %w", o.GetKind(), o.GetName(), err)
		}
		if _, err := resource.Create(ctx, o, metav1.CreateOptions{}); err != nil {
			return fmt.Errorf("%s %s: %w", o.GetKind(), o.GetName(), err)
		}
	}
	return nil
}

// Finish waits until all TaskRuns and PipelineRuns are over, those too that
// Tekton made of others.
func (n *Namespace) Finish(ctx context.Context, limit time.Duration) error {
	return Await(ctx, limit, func(ctx context.Context) (string, error) {
		for _, kind := range []string{"tekton.dev/PipelineRun", "tekton.dev/TaskRun"} {
			runs, err := n.List(ctx, kind, n.Name)
			if err != nil {
				return "", err
			}
			for _, run := range runs {
				if c := Succeeded(run); c.Status != metav1.ConditionTrue && c.Status != metav1.ConditionFalse {
					return fmt.Sprintf("%s %s is not over: %s: %s", kind, run.GetName(), c.Reason, c.Message), nil
				}
			}
		}
		return "", nil
	})
}

// Succeeded is the condition of that name, zero if the run has none yet.
func Succeeded(run unstructured.Unstructured) metav1.Condition {
	return condition(run, "Succeeded")
}

func condition(o unstructured.Unstructured, kind string) metav1.Condition {
	// A status of another shape is a status without conditions.
	conditions, _, _ := unstructured.NestedSlice(o.Object, "status", "conditions")
	for _, c := range conditions {
		m, ok := c.(map[string]any)
		if !ok || m["type"] != kind {
			continue
		}
		text := func(key string) string {
			s, _ := m[key].(string)
			return s
		}
		return metav1.Condition{Type: kind, Status: metav1.ConditionStatus(text("status")), Reason: text("reason"), Message: text("message")}
	}
	return metav1.Condition{}
}

// Log returns what a container wrote so far.
func (n *Namespace) Log(ctx context.Context, pod, container string) (string, error) {
	text, err := n.Typed.CoreV1().Pods(n.Name).GetLogs(pod, &corev1.PodLogOptions{Container: container}).DoRaw(ctx)
	return string(text), err
}

// Streams returns what a container wrote, standard output and standard error
// apart. The order between the two is nobody's promise: they come to the log
// through two pipes. It reads the node's own log files, for the API mixes the two.
func (n *Namespace) Streams(pod *corev1.Pod, container string) (stdout, stderr string, err error) {
	dir := filepath.Join(podLogs, fmt.Sprintf("%s_%s_%s", n.Name, pod.Name, pod.UID), container)
	files, err := filepath.Glob(filepath.Join(dir, "*.log"))
	if err != nil {
		return "", "", err
	}
	var out, serr strings.Builder
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			return "", "", err
		}
		for line := range strings.Lines(string(data)) {
			// TIME STREAM F|P TEXT, as the container runtime interface has it; P: the line goes on in the next.
			fields := strings.SplitN(strings.TrimSuffix(line, "\n"), " ", 4)
			if len(fields) != 4 {
				return "", "", fmt.Errorf("%s: %q is no line of a container's log", file, line)
			}
			into := &out
			if fields[1] == "stderr" {
				into = &serr
			}
			into.WriteString(fields[3])
			if fields[2] == "F" {
				into.WriteByte('\n')
			}
		}
	}
	return out.String(), serr.String(), nil
}

// podLogs is where the kubelet of the test bed keeps logs.
const podLogs = "/var/log/pods"
