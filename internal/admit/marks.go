package admit

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"outrigger.dev/outrigger/api/v1alpha1"
)

const (
	ours   = "outrigger.dev/" // the prefix of our labels and annotations
	darwin = "darwin"
	linux  = "linux"
)

// settable are the annotations that change nothing without a pool: of a Pod that
// has only these nothing is asked, since Tekton copies a PipelineRun's
// annotations to all of its Pods.
var settable = []string{
	v1alpha1.AnnotationContainers, v1alpha1.AnnotationExclude, v1alpha1.AnnotationImage, v1alpha1.AnnotationKeep,
	v1alpha1.AnnotationNetwork, v1alpha1.AnnotationServices, v1alpha1.AnnotationPriority,
}

// written are the annotations that Outrigger writes on Pods.
var written = []string{v1alpha1.AnnotationRequest, v1alpha1.AnnotationMachine, v1alpha1.AnnotationImages}

func isWritten(key string) bool {
	return slices.Contains(written, key) || strings.HasPrefix(key, v1alpha1.AnnotationFieldPrefix)
}

// Marked tells whether a Pod is Mutate's business: it names a pool, or selects
// nodes that no cluster has, or says that it was rewritten, or has an annotation
// that would be ours if it existed. It is what [MatchExpression] says.
func Marked(pod *corev1.Pod) bool {
	if _, ok := pod.Annotations[v1alpha1.AnnotationPool]; ok {
		return true
	}
	if pod.Spec.NodeSelector[corev1.LabelOSStable] == darwin {
		return true
	}
	if _, ok := pod.Labels[v1alpha1.LabelClaim]; ok {
		return true
	}
	for key := range pod.Annotations {
		if strings.HasPrefix(key, ours) && !harmless(key) {
			return true
		}
	}
	return false
}

func harmless(key string) bool {
	return slices.Contains(settable, key) || strings.HasPrefix(key, v1alpha1.AnnotationSyncPrefix)
}

// MatchExpression is [Marked] in CEL, for the webhook's matchConditions: Pods of
// which it is false never reach the webhook, and do not depend on it.
func MatchExpression() string {
	known := make([]string, len(settable))
	for i, key := range settable {
		known[i] = "'" + key + "'"
	}
	return fmt.Sprintf(
		"(has(object.metadata.annotations) && object.metadata.annotations.exists(k, k.startsWith('%s') && !k.startsWith('%s') && !(k in [%s])))"+
			" || (has(object.metadata.labels) && '%s' in object.metadata.labels)"+
			" || (has(object.spec.nodeSelector) && '%s' in object.spec.nodeSelector && object.spec.nodeSelector['%s'] == '%s')",
		ours, v1alpha1.AnnotationSyncPrefix, strings.Join(known, ", "), v1alpha1.LabelClaim, corev1.LabelOSStable, corev1.LabelOSStable, darwin)
}

// UnansweredExpression tells in CEL that a Pod was not rewritten yet, as far as can be seen.
func UnansweredExpression() string {
	return fmt.Sprintf("!has(object.metadata.labels) || !('%s' in object.metadata.labels)", v1alpha1.LabelClaim)
}

// AnsweredExpression tells in CEL that a Pod looks rewritten.
func AnsweredExpression() string { return "!(" + UnansweredExpression() + ")" }
