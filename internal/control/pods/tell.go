package pods

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"outrigger.dev/outrigger/api/v1alpha1"
	"outrigger.dev/outrigger/internal/sanitize"
)

// Patches are strategic merges that name the Pod's UID: a Pod of the same name made later is
// not touched, and what others write of the Pod meanwhile stays.

// liftGate lets the Pod be scheduled.
func (r *reconciler) liftGate(ctx context.Context, pod *corev1.Pod, machine string) error {
	return r.patch(ctx, pod, map[string]any{
		"metadata": map[string]any{"uid": pod.UID, "annotations": map[string]string{v1alpha1.AnnotationMachine: machine}},
		"spec":     map[string]any{"schedulingGates": []any{map[string]string{"name": v1alpha1.Gate, "$patch": "delete"}}},
	}, "")
}

// tell writes the Pod's condition. It is put first among the conditions: a TaskRun shows the
// first one that is not True (getWaitingMessage in pkg/pod/status.go of Tekton v1.12.0), and so says
// why it waits.
func (r *reconciler) tell(ctx context.Context, s *seat, step Step) error {
	if err := r.patch(ctx, s.pod, map[string]any{
		"metadata": map[string]any{"uid": s.pod.UID},
		"status":   conditionPatch(s.pod, step, r.now()),
	}, "status"); err != nil {
		return err
	}
	if step.Warn {
		r.event(s.pod, corev1.EventTypeWarning, step.Reason, step.Message)
	}
	return nil
}

// fail makes a Pod fail that nothing has run of, as Kubernetes does with Pods whose node is
// gone. Its Job counts a failure, its TaskRun fails with this message.
func (r *reconciler) fail(ctx context.Context, s *seat, step Step) error {
	status := conditionPatch(s.pod, step, r.now())
	status["phase"], status["reason"], status["message"] = corev1.PodFailed, "Outrigger"+step.Reason, clip(step.Message)
	if err := r.patch(ctx, s.pod, map[string]any{"metadata": map[string]any{"uid": s.pod.UID}, "status": status}, "status"); err != nil {
		return err
	}
	r.Log.Info("pod refused", "namespace", s.pod.Namespace, "pod", s.pod.Name, "reason", step.Reason, "message", step.Message)
	r.event(s.pod, corev1.EventTypeWarning, step.Reason, step.Message)
	return nil
}

// hindered tells the Pod that the API server refuses what it needs, which may change, and
// returns err.
func (r *reconciler) hindered(ctx context.Context, s *seat, reason string, err error) error {
	if s.pod == nil {
		return err
	}
	step := Snapshot{Now: r.now(), Pod: describe(s.pod, "")}.warn(reason, err.Error())
	if step.Do == Tell {
		if e := r.tell(ctx, s, step); e != nil {
			return e
		}
	}
	return err
}

func conditionPatch(pod *corev1.Pod, step Step, now time.Time) map[string]any {
	order := []any{map[string]any{"type": v1alpha1.PodMachineBound}}
	changed := metav1.NewTime(now)
	status := corev1.ConditionFalse
	if step.Bound {
		status = corev1.ConditionTrue
	}
	for _, c := range pod.Status.Conditions {
		switch {
		case c.Type != v1alpha1.PodMachineBound:
			order = append(order, map[string]any{"type": c.Type})
		case c.Status == status:
			changed = c.LastTransitionTime
		}
	}
	return map[string]any{
		"$setElementOrder/conditions": order,
		"conditions": []corev1.PodCondition{{
			Type: v1alpha1.PodMachineBound, Status: status, Reason: step.Reason, Message: clip(step.Message),
			LastProbeTime: metav1.NewTime(now), LastTransitionTime: changed,
		}},
	}
}

func (r *reconciler) patch(ctx context.Context, pod *corev1.Pod, change map[string]any, subresource string) error {
	data, err := json.Marshal(change)
	if err != nil {
		return err
	}
	patch := client.RawPatch(types.StrategicMergePatchType, data)
	if subresource == "" {
		err = r.client.Patch(ctx, pod, patch)
	} else {
		err = r.client.SubResource(subresource).Patch(ctx, pod, patch)
	}
	if apierrors.IsInvalid(err) || apierrors.IsConflict(err) { // as a rule another Pod of the same name
		return apierrors.NewConflict(corev1.Resource("pods"), pod.Name, err)
	}
	return err
}

func (r *reconciler) event(about client.Object, kind, reason, note string) {
	const most = 1024 // events.k8s.io/v1, Event.note
	r.events.Eventf(about, nil, kind, reason, reason, "%s", sanitize.Text(note, most))
}

// clip keeps a message within what is read. A part of it may be the words of a provider or a machine.
func clip(message string) string {
	const most = 2000
	return sanitize.Text(message, most)
}

// roughly is a duration as people say it.
func roughly(d time.Duration) string {
	if d < time.Second {
		return "less than a second"
	}
	return fmt.Sprint(d.Round(time.Second))
}
