//go:build linux

package pods_test

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"outrigger.dev/outrigger/api/v1alpha1"
	"outrigger.dev/outrigger/test/apiserver"
)

// pipelineRun makes one, and the claim that it holds.
func (w *world) pipelineRun(name string) (*unstructured.Unstructured, *v1alpha1.MachineClaim) {
	w.Helper()
	run := &unstructured.Unstructured{}
	run.SetGroupVersionKind(apiserver.PipelineRun)
	run.SetNamespace(w.pool)
	run.SetName(name)
	w.must(w.Create(w.Context(), run))
	claim := &v1alpha1.MachineClaim{ObjectMeta: metav1.ObjectMeta{Namespace: w.pool, Name: "claim-" + name}, Spec: v1alpha1.MachineClaimSpec{
		Pool: w.pool, Holder: &v1alpha1.Holder{Kind: "PipelineRun", Name: name, UID: string(run.GetUID())},
	}}
	w.must(w.Create(w.Context(), claim))
	return run, claim
}

// handedOver waits until the claim has its machine and says by which Secret it is reached.
func (w *world) handedOver(c *v1alpha1.MachineClaim) {
	w.Helper()
	w.eventually("claim "+c.Name+" is ready", func() bool {
		w.must(w.Get(w.Context(), client.ObjectKeyFromObject(c), c))
		return claimCondition(c, v1alpha1.ClaimConditionReady).Status == metav1.ConditionTrue
	})
	var s corev1.Secret
	w.must(w.Get(w.Context(), client.ObjectKey{Namespace: c.Namespace, Name: c.Status.SecretName}, &s))
}

// A PipelineRun holds a machine for its Tasks. Cancelled, it ends without any of them giving it
// back; the controller, with the rights that it is installed with, does.
func TestPipelineRunHoldsAMachine(t *testing.T) {
	server.ServePipelineRuns(t)
	w := newWorld(t)
	w.control()
	w.makePool(0, 2)
	cancelled, first := w.pipelineRun("cancelled")
	deleted, second := w.pipelineRun("deleted")
	w.handedOver(first)
	w.handedOver(second)
	if first.Status.Machine == second.Status.Machine {
		t.Errorf("both runs have machine %s", first.Status.Machine)
	}
	if n := w.held(); n != 2 {
		t.Errorf("%d machines are held, want 2", n)
	}

	w.must(unstructured.SetNestedMap(cancelled.Object, map[string]any{
		"completionTime": time.Now().UTC().Format(time.RFC3339),
		"conditions":     []any{map[string]any{"type": "Succeeded", "status": "False", "reason": "Cancelled", "message": "it was cancelled"}},
	}, "status"))
	w.must(w.Status().Update(t.Context(), cancelled))
	w.must(w.Delete(t.Context(), deleted))
	w.eventually("the claim of the cancelled run is released", func() bool {
		w.must(w.Get(t.Context(), client.ObjectKeyFromObject(first), first))
		return first.Status.Phase == v1alpha1.ClaimReleased
	})
	if c := claimCondition(first, v1alpha1.ClaimConditionReleased); c.Reason != "PipelineRunFailed" || c.Message != "PipelineRun cancelled: Cancelled: it was cancelled" {
		t.Errorf("it says %+v", c)
	}
	w.eventually("the claim of the deleted run is gone", func() bool {
		return client.IgnoreNotFound(w.Get(t.Context(), client.ObjectKeyFromObject(second), second)) == nil &&
			w.Get(t.Context(), client.ObjectKeyFromObject(second), second) != nil
	})
	w.eventually("both machines are given back", func() bool { return w.held() == 0 })
	var left corev1.SecretList
	w.must(w.List(t.Context(), &left, client.InNamespace(w.pool)))
	if len(left.Items) > 0 {
		t.Errorf("Secret %s is left", left.Items[0].Name)
	}
}
