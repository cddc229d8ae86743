package pods

import (
	"context"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"outrigger.dev/outrigger/api/v1alpha1"
)

// A PipelineRun that holds a claim is looked at every now and then, and not watched: Tekton may
// not be installed, and then there is nothing to watch.

// pipelineRun is its kind, in the version that Tekton has stored since 0.43.
var pipelineRun = schema.GroupVersionKind{Group: "tekton.dev", Version: "v1", Kind: "PipelineRun"}

// addRun makes the claim's holder, a PipelineRun, the first of the seats.
func (r *reconciler) addRun(ctx context.Context, l *look, h *v1alpha1.Holder) error {
	s := &seat{kind: h.Kind, hidden: true, run: &unstructured.Unstructured{}}
	s.run.SetGroupVersionKind(pipelineRun)
	err := r.live.Get(ctx, client.ObjectKey{Namespace: l.Namespace, Name: h.Name}, s.run)
	switch {
	case apierrors.IsNotFound(err), err == nil && string(s.run.GetUID()) != h.UID:
		s.run = nil
	case err != nil:
		return fmt.Errorf("holder of claim %s: PipelineRun %s: %w", l, h.Name, err)
	}
	l.seats = append([]*seat{s}, l.seats...)
	return nil
}

// describeRun puts a run into the decider's words. It has ended when Tekton says so,
// however it came to that: what is left of it then is its object.
func describeRun(s *seat) Pod {
	p := Pod{Kind: s.kind, There: s.run != nil, Placed: true, Finishes: true}
	if s.run == nil {
		return p
	}
	text, _, _ := unstructured.NestedString(s.run.Object, "status", "completionTime") // what is no text is no time either
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return p
	}
	p.End, p.EndedAt = Succeeded, at
	if c := succeeded(s.run); c["status"] != "True" {
		p.End, p.Failure = Failed, fmt.Sprintf("PipelineRun %s: %v: %v", s.run.GetName(), c["reason"], c["message"])
	}
	return p
}

// succeeded is the run's condition of that name, as it is written.
func succeeded(run *unstructured.Unstructured) map[string]any {
	list, _, _ := unstructured.NestedSlice(run.Object, "status", "conditions") // then it says nothing
	for _, c := range list {
		if m, ok := c.(map[string]any); ok && m["type"] == "Succeeded" {
			return m
		}
	}
	return nil
}
