//go:build linux

package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/watch"

	"outrigger.dev/outrigger/test/e2e/user"
)

// onNode is the kind of TaskRun that has no annotation.
const onNode = "node"

// limit bounds one TaskRun; a machine that is made for it takes its time.
const limit = 5 * time.Minute

// What is seen of a TaskRun's Pod and claim, in order.
const (
	podMade    = "its Pod exists"
	claimMade  = "its claim exists"
	claimBound = "a machine is bound"
	gateLifted = "the gate is lifted"
	scheduled  = "the Pod is scheduled"
	prepared   = "its init containers have ended"
	started    = "the step's container runs"
)

var stages = []string{podMade, claimMade, claimBound, gateLifted, scheduled, prepared, started}

// A sample is one TaskRun; all times count from its creation.
type sample struct {
	line, done time.Duration
	at         map[string]time.Duration
}

// run makes one TaskRun and waits for its end.
func run(ctx context.Context, n *user.Namespace, name, kind string) (sample, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	objects, err := user.Parse([]byte(taskRun(name, kind)))
	if err != nil {
		return sample{}, err
	}
	w, err := watchAll(ctx, n)
	if err != nil {
		return sample{}, err
	}
	defer w.stop()
	began := time.Now()
	if err := n.Create(ctx, objects...); err != nil {
		return sample{}, err
	}
	s := sample{at: map[string]time.Duration{}}
	for s.done == 0 {
		select {
		case event, open := <-w.events:
			if !open {
				return s, fmt.Errorf("%s: the watch ended", name)
			}
			if err := s.note(event, name, time.Since(began)); err != nil {
				return s, err
			}
		case <-ctx.Done():
			return s, fmt.Errorf("%s: %w", name, context.Cause(ctx))
		}
	}
	pod, err := n.Typed.CoreV1().Pods(n.Name).Get(ctx, name+"-pod", metav1.GetOptions{})
	if err != nil {
		return s, err
	}
	first, err := firstLine(n.Name, pod)
	s.line = first.Sub(began)
	return s, err
}

func taskRun(name, kind string) string {
	annotations := ""
	if kind != onNode {
		annotations = fmt.Sprintf("\n  annotations: {outrigger.dev/pool: %s}", kind)
	}
	return fmt.Sprintf(`
apiVersion: tekton.dev/v1
kind: TaskRun
metadata:
  name: %s%s
spec:
  taskSpec:
    steps:
    - name: say
      image: %s
      script: |
        echo a line
`, name, annotations, *image)
}

// note writes down what an event shows for the first time.
func (s *sample) note(event watch.Event, run string, now time.Duration) error {
	o, ok := event.Object.(*unstructured.Unstructured)
	if !ok || !strings.HasPrefix(o.GetName(), run) {
		return nil
	}
	see := func(stage string, seen bool) {
		if _, known := s.at[stage]; seen && !known {
			s.at[stage] = now
		}
	}
	switch o.GetKind() {
	case "Pod":
		see(podMade, true)
		// Fields of another type than the API's are not there.
		gates, _, _ := unstructured.NestedSlice(o.Object, "spec", "schedulingGates")
		_, waited := s.at[claimMade]
		see(gateLifted, waited && len(gates) == 0)
		node, _, _ := unstructured.NestedString(o.Object, "spec", "nodeName")
		see(scheduled, node != "")
		see(prepared, containers(o, "initContainerStatuses", "terminated"))
		see(started, containers(o, "containerStatuses", "running") || containers(o, "containerStatuses", "terminated"))
	case "MachineClaim":
		see(claimMade, true)
		phase, _, _ := unstructured.NestedString(o.Object, "status", "phase")
		see(claimBound, phase == "Bound")
	case "TaskRun":
		switch c := user.Succeeded(*o); c.Status {
		case metav1.ConditionTrue:
			s.done = now
		case metav1.ConditionFalse:
			return fmt.Errorf("%s: %s: %s", run, c.Reason, c.Message)
		}
	}
	return nil
}

// containers tells whether all containers that the field lists are in the state.
func containers(pod *unstructured.Unstructured, field, state string) bool {
	list, found, err := unstructured.NestedSlice(pod.Object, "status", field)
	return err == nil && found && len(list) > 0 && !slices.ContainsFunc(list, func(item any) bool {
		status, ok := item.(map[string]any)
		if !ok {
			return true
		}
		_, in, err := unstructured.NestedMap(status, "state", state)
		return err != nil || !in
	})
}

// firstLine is when the step wrote it, in the node's log: "TIME STREAM F TEXT".
func firstLine(namespace string, pod *corev1.Pod) (time.Time, error) {
	pattern := filepath.Join("/var/log/pods", fmt.Sprintf("%s_%s_%s", namespace, pod.Name, pod.UID), "step-say", "*.log")
	files, err := filepath.Glob(pattern)
	if err != nil {
		return time.Time{}, err
	}
	if len(files) == 0 {
		return time.Time{}, fmt.Errorf("%s: no log: this program runs on the node", pattern)
	}
	data, err := os.ReadFile(files[0])
	if err != nil {
		return time.Time{}, err
	}
	for line := range strings.Lines(string(data)) {
		if at, text, ok := strings.Cut(line, " "); ok && strings.HasSuffix(text, "a line\n") {
			return time.Parse(time.RFC3339Nano, at)
		}
	}
	return time.Time{}, fmt.Errorf("%s: the step's line is not there", files[0])
}
