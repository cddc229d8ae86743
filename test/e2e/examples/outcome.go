//go:build e2e

package examples

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"outrigger.dev/outrigger/test/e2e/user"
)

// taskRunStatus holds the fields of a TaskRun's status that are compared.
type taskRunStatus struct {
	Conditions    []metav1.Condition `json:"conditions"`
	RetriesStatus []json.RawMessage  `json:"retriesStatus"`
	Results       []result           `json:"results"`
	Artifacts     json.RawMessage    `json:"artifacts"`
	Steps         []step             `json:"steps"`
	Sidecars      []struct {
		Name string `json:"name"`
	} `json:"sidecars"`
}

type step struct {
	Name              string                           `json:"name"`
	Terminated        *corev1.ContainerStateTerminated `json:"terminated"`
	Running           *corev1.ContainerStateRunning    `json:"running"`
	TerminationReason string                           `json:"terminationReason"`
	Results           []result                         `json:"results"`
	Inputs            json.RawMessage                  `json:"inputs"`
	Outputs           json.RawMessage                  `json:"outputs"`
}

type result struct {
	Name  string          `json:"name"`
	Type  string          `json:"type"`
	Value json.RawMessage `json:"value"`
}

type pipelineRunStatus struct {
	Conditions   []metav1.Condition `json:"conditions"`
	Results      []result           `json:"results"`
	SkippedTasks []struct {
		Name   string `json:"name"`
		Reason string `json:"reason"`
	} `json:"skippedTasks"`
	ChildReferences []struct {
		Name             string `json:"name"`
		PipelineTaskName string `json:"pipelineTaskName"`
	} `json:"childReferences"`
}

// An Outcome is what a user sees of an example.
type Outcome struct {
	Text      string // all runs in the namespace, in the order of their names
	Succeeded bool   // all runs that are no part of another run
}

func outcome(ctx context.Context, n *user.Namespace) (Outcome, error) {
	var out strings.Builder
	succeeded := true
	for _, kind := range []string{"PipelineRun", "TaskRun"} {
		list, err := n.List(ctx, "tekton.dev/"+kind, n.Name)
		if err != nil {
			return Outcome{}, err
		}
		slices.SortFunc(list, func(a, b unstructured.Unstructured) int { return strings.Compare(a.GetName(), b.GetName()) })
		for _, run := range list {
			fmt.Fprintf(&out, "%s %s\n", kind, run.GetName())
			if len(run.GetOwnerReferences()) == 0 && user.Succeeded(run).Status != metav1.ConditionTrue {
				succeeded = false
			}
			if kind == "PipelineRun" {
				err = writePipelineRun(&out, run)
			} else {
				err = writeTaskRun(ctx, &out, n, run)
			}
			if err != nil {
				return Outcome{}, err
			}
		}
	}
	known, err := names(ctx, n)
	if err != nil {
		return Outcome{}, err
	}
	return Outcome{Text: normal(out.String(), known), Succeeded: succeeded}, nil
}

func writePipelineRun(out io.Writer, run unstructured.Unstructured) error {
	var status pipelineRunStatus
	if err := decodeStatus(run, &status); err != nil {
		return err
	}
	writeConditions(out, status.Conditions)
	writeResults(out, "", status.Results)
	for _, skipped := range status.SkippedTasks {
		fmt.Fprintf(out, "  skipped %s: %s\n", skipped.Name, skipped.Reason)
	}
	children := map[string]int{}
	for _, child := range status.ChildReferences {
		children[child.PipelineTaskName]++
	}
	for _, name := range sorted(children) {
		fmt.Fprintf(out, "  task %s: %d run(s)\n", name, children[name])
	}
	return nil
}

func writeTaskRun(ctx context.Context, out io.Writer, n *user.Namespace, run unstructured.Unstructured) error {
	var status taskRunStatus
	if err := decodeStatus(run, &status); err != nil {
		return err
	}
	writeConditions(out, status.Conditions)
	fmt.Fprintf(out, "  retries %d\n", len(status.RetriesStatus))
	writeResults(out, "", status.Results)
	writeJSON(out, "artifacts", status.Artifacts)
	for _, st := range status.Steps {
		fmt.Fprintf(out, "  step %s: %s\n", st.Name, st.end())
		writeResults(out, "  ", st.Results)
		writeJSON(out, "  inputs", st.Inputs)
		writeJSON(out, "  outputs", st.Outputs)
	}
	for _, sidecar := range status.Sidecars {
		fmt.Fprintf(out, "  sidecar %s\n", sidecar.Name)
	}
	return writeLogs(ctx, out, n, run.GetName())
}

func (st step) end() string {
	switch {
	case st.Terminated != nil:
		return fmt.Sprintf("exit code %d, %s, %s", st.Terminated.ExitCode, st.Terminated.Reason, st.TerminationReason)
	case st.Running != nil:
		return "running"
	}
	return "waiting"
}

// writeLogs writes the logs of the steps of each Pod of a TaskRun: one Pod, and
// one more for each retry.
func writeLogs(ctx context.Context, out io.Writer, n *user.Namespace, taskRun string) error {
	pods, err := n.Typed.CoreV1().Pods(n.Name).List(ctx, metav1.ListOptions{LabelSelector: "tekton.dev/taskRun=" + taskRun})
	if err != nil {
		return err
	}
	slices.SortFunc(pods.Items, func(a, b corev1.Pod) int { return strings.Compare(a.Name, b.Name) })
	for _, pod := range pods.Items {
		for _, container := range pod.Spec.Containers {
			if !strings.HasPrefix(container.Name, "step-") {
				continue
			}
			stdout, stderr, err := n.Streams(&pod, container.Name)
			if err != nil {
				return err
			}
			writeLog(out, pod.Name, container.Name, "stdout", stdout)
			writeLog(out, pod.Name, container.Name, "stderr", stderr)
		}
	}
	return nil
}

func writeLog(out io.Writer, pod, container, stream, text string) {
	if text == "" {
		return
	}
	fmt.Fprintf(out, "  %s of %s %s\n", stream, pod, container)
	for _, line := range traced(slices.Collect(strings.Lines(text))) {
		if !chatter.MatchString(line) {
			fmt.Fprintf(out, "    | %s\n", strings.TrimSuffix(line, "\n"))
		}
	}
}

func decodeStatus(run unstructured.Unstructured, into any) error {
	data, err := json.Marshal(run.Object["status"])
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, into); err != nil {
		return fmt.Errorf("status of %s %s: %w", run.GetKind(), run.GetName(), err)
	}
	return nil
}

func writeConditions(out io.Writer, conditions []metav1.Condition) {
	for _, c := range conditions {
		fmt.Fprintf(out, "  %s=%s %s: %s\n", c.Type, c.Status, c.Reason, c.Message)
	}
}

func writeResults(out io.Writer, indent string, results []result) {
	slices.SortFunc(results, func(a, b result) int { return strings.Compare(a.Name, b.Name) })
	for _, r := range results {
		fmt.Fprintf(out, "%s  result %s %s = %s\n", indent, r.Name, r.Type, r.Value)
	}
}

func writeJSON(out io.Writer, name string, value json.RawMessage) {
	if len(value) > 0 && string(value) != "null" {
		fmt.Fprintf(out, "  %s %s\n", name, value)
	}
}

func sorted[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for key := range m {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}
