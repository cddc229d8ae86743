package pods

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"outrigger.dev/outrigger/api/v1alpha1"
	"outrigger.dev/outrigger/internal/handoff"
	"outrigger.dev/outrigger/internal/pool"
)

// describe puts a Pod into the decider's words; nil is one that is gone.
func describe(pod *corev1.Pod, wrong string) Pod {
	if pod == nil {
		return Pod{}
	}
	p := Pod{
		There: true, Gated: isGated(pod), Placed: pod.Spec.NodeName != "", Wrong: wrong,
		Finishes: pod.Spec.RestartPolicy == corev1.RestartPolicyNever || pod.Spec.RestartPolicy == corev1.RestartPolicyOnFailure,
		Machine:  pod.Annotations[v1alpha1.AnnotationMachine],
		Told:     told(pod),
	}
	p.Unplaced, p.Left = unplaced(pod), resultsLeft(pod)
	if pod.DeletionTimestamp != nil {
		p.Leaves = pod.DeletionTimestamp.Time // the API server has added the grace period
	}
	p.End, p.EndedAt, p.Failure = endOf(pod)
	return p
}

// unplaced is what the scheduler says of a Pod that no node has.
func unplaced(pod *corev1.Pod) string {
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodScheduled && c.Status != corev1.ConditionTrue && c.Reason != corev1.PodReasonSchedulingGated && c.Message != "" {
			return c.Message
		}
	}
	return "the scheduler says nothing"
}

// resultsLeft is what a relay says of results that did not come back; "": all did.
func resultsLeft(pod *corev1.Pod) string {
	for _, st := range pod.Status.ContainerStatuses {
		if t := st.State.Terminated; t != nil {
			if text := leftIn(t.Message); text != "" {
				return "container " + st.Name + ": " + text
			}
		}
	}
	return ""
}

// leftIn finds it in a termination message: among Tekton's results, or as a line.
func leftIn(message string) string {
	var results []struct{ Key, Value string }
	if json.Unmarshal([]byte(message), &results) == nil {
		for _, r := range results {
			if r.Key == v1alpha1.ResultsLeft {
				return r.Value
			}
		}
		return ""
	}
	for line := range strings.Lines(message) {
		if text, ok := strings.CutPrefix(line, v1alpha1.ResultsLeft+":"); ok {
			return strings.TrimSpace(text)
		}
	}
	return ""
}

func isGated(pod *corev1.Pod) bool {
	for _, g := range pod.Spec.SchedulingGates {
		if g.Name == v1alpha1.Gate {
			return true
		}
	}
	return false
}

func told(pod *corev1.Pod) Telling {
	for _, c := range pod.Status.Conditions {
		if c.Type == v1alpha1.PodMachineBound {
			return Telling{c.Status == corev1.ConditionTrue, c.Reason, c.Message, c.LastProbeTime.Time}
		}
	}
	return Telling{}
}

// relayed returns the containers whose commands run on the machine: those to which
// the webhook gave a plan. Sidecars and steps that stay on Linux have none.
func relayed(pod *corev1.Pod) map[string]*corev1.Container {
	all := map[string]*corev1.Container{}
	for i := range pod.Spec.Containers {
		c := &pod.Spec.Containers[i]
		for _, e := range c.Env {
			if e.Name == handoff.PlanVariable {
				all[c.Name] = c
			}
		}
	}
	return all
}

// endOf tells what the relayed containers have come to, when the last one ended, and
// which failed. Of a Pod in a final phase the phase counts: its containers may never have begun.
func endOf(pod *corev1.Pod) (end End, at time.Time, failure string) {
	wanted := relayed(pod)
	left := len(wanted)
	for _, st := range pod.Status.ContainerStatuses {
		c, ours := wanted[st.Name]
		t := st.State.Terminated
		if !ours || t == nil {
			continue
		}
		if t.FinishedAt.After(at) {
			at = t.FinishedAt.Time
		}
		if failure == "" && t.ExitCode != 0 {
			failure = fmt.Sprintf("container %s ended with exit code %d", st.Name, t.ExitCode)
		}
		if isFinal(pod, c, t) {
			left--
		}
	}
	switch phase := pod.Status.Phase; {
	case phase == corev1.PodFailed && failure == "":
		return Failed, at, strings.TrimSuffix("the Pod failed: "+pod.Status.Reason, ": ")
	case phase == corev1.PodFailed:
		return Failed, at, failure
	case phase == corev1.PodSucceeded:
		return Succeeded, at, ""
	case left > 0 || len(wanted) == 0:
		return Running, at, ""
	case failure != "":
		return Failed, at, failure
	}
	return Succeeded, at, ""
}

// isFinal tells whether a container that has ended will not be started again.
func isFinal(pod *corev1.Pod, c *corev1.Container, t *corev1.ContainerStateTerminated) bool {
	policy := pod.Spec.RestartPolicy
	if c.RestartPolicy != nil {
		policy = corev1.RestartPolicy(*c.RestartPolicy)
	}
	switch {
	case pod.DeletionTimestamp != nil:
		return true
	case len(c.RestartPolicyRules) > 0: // what they say of an exit code is the kubelet's to know
		return false
	case policy == corev1.RestartPolicyNever:
		return true
	}
	return policy == corev1.RestartPolicyOnFailure && t.ExitCode == 0
}

// claimed puts a claim into the decider's words, as seen from a Pod or a run; nil is none.
func claimed(c *v1alpha1.MachineClaim, from client.Object) Claim {
	if c == nil {
		return Claim{}
	}
	out := Claim{
		There: true, Leaving: !c.DeletionTimestamp.IsZero(),
		Phase: c.Status.Phase, Pool: c.Spec.Pool, Machine: c.Status.Machine,
		Ready: meta.IsStatusConditionTrue(c.Status.Conditions, v1alpha1.ClaimConditionReady),
	}
	if h := c.Spec.Holder; h != nil {
		out.Holder = h.Kind + " " + h.Name
		out.Mine = from != nil && string(from.GetUID()) == h.UID
	} else {
		out.Holder = "nobody's Pod"
	}
	if at := c.Status.ReadyAt; at != nil {
		out.ReadyAt = at.Time
	}
	if c.Spec.Keep != nil {
		out.Keep = c.Spec.Keep.Duration
	}
	if kept := meta.FindStatusCondition(c.Status.Conditions, v1alpha1.ClaimConditionReleased); kept != nil && kept.Reason == reasonKept {
		out.KeptSince = kept.LastTransitionTime.Time
	}
	if b := meta.FindStatusCondition(c.Status.Conditions, v1alpha1.ClaimConditionBound); b != nil {
		out.Reason, out.Message = b.Reason, b.Message
		out.Lost = out.Phase == v1alpha1.ClaimBound && b.Status == metav1.ConditionFalse
		if out.Phase == "" || out.Phase == v1alpha1.ClaimQueued {
			out.Message = waiting(c, b.Message)
		}
	}
	return out
}

// reasonKept is the reason of a claim's condition Released, while its machine is kept after a failure.
const reasonKept = "Kept"

// waiting is what a Pod in the queue is told.
func waiting(c *v1alpha1.MachineClaim, why string) string {
	text := "waits for a machine of pool " + c.Spec.Pool
	if b := meta.FindStatusCondition(c.Status.Conditions, v1alpha1.ClaimConditionBound); b != nil && b.Reason == string(pool.ReasonClosing) {
		return text + ": " + why // there is no queue any more
	}
	if c.Status.Position > 0 {
		text += fmt.Sprintf(", number %d in the queue", c.Status.Position)
	}
	if why != "" {
		text += ": " + why
	}
	if c.Status.ExpectedWait != "" {
		text += "; expected wait " + c.Status.ExpectedWait
	}
	return text
}

// request reads what the webhook wrote for the claim; wrong says why that cannot be.
func request(pod *corev1.Pod) (spec v1alpha1.MachineClaimSpec, wrong string) {
	text, ok := pod.Annotations[v1alpha1.AnnotationRequest]
	if !ok {
		return spec, "the Pod has no annotation " + v1alpha1.AnnotationRequest + ": it was not made through Outrigger's webhook; make it anew"
	}
	if err := json.Unmarshal([]byte(text), &spec); err != nil {
		return spec, fmt.Sprintf("annotation %s: %v; Outrigger's webhook writes it: make the Pod anew", v1alpha1.AnnotationRequest, err)
	}
	if spec.Pool == "" {
		return spec, "annotation " + v1alpha1.AnnotationRequest + " names no pool; Outrigger's webhook writes it: make the Pod anew"
	}
	spec.Holder = &v1alpha1.Holder{Kind: "Pod", Name: pod.Name, UID: string(pod.UID)}
	return spec, ""
}
