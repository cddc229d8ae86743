package webhook

import (
	"fmt"
	"strings"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"outrigger.dev/outrigger/internal/admit"
)

const (
	// seconds is how long the API server waits for an answer, which takes milliseconds.
	seconds = 10
	// tries is how often it asks until it is answered, each time over a connection
	// of its own. While a replica that died is still an endpoint of the Service, half of the
	// connections to one of two are refused; the first that is not serves all that follow.
	tries = 8
	// always is how many of them are about each Pod, answered or not: only a webhook that was asked
	// once is asked again when another webhook has changed the Pod since.
	always = 2
	// trySeconds is how long it waits before it asks again. A Pod's creation may take 30 s in all.
	trySeconds = 2
)

// configuration is the MutatingWebhookConfiguration as it is to be, with every field said: what
// the API server fills in would else look like somebody's change.
//
// The API server asks a webhook once, and whoever creates a Pod in the moment in which a
// replica dies would be refused with an error after which Tekton gives its TaskRun up. So
// it is told of several webhooks that are all ours. The first is about Pods that come as
// if we had answered already, and must be answered: no author makes a Pod that passes
// unseen. The others may fail. A Pod about which all of them did is refused by the
// [Policy], in words after which it is created again.
func (w *Webhook) configuration(bundle []byte) *admissionv1.MutatingWebhookConfiguration {
	guard := w.hook(bundle)
	// In front: where it is false, no failure of the other condition counts.
	guard.MatchConditions = append([]admissionv1.MatchCondition{{Name: "answered", Expression: admit.AnsweredExpression()}}, guard.MatchConditions...)
	config := &admissionv1.MutatingWebhookConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: Configuration}, Webhooks: []admissionv1.MutatingWebhook{guard},
	}
	for i := range tries {
		hook := w.hook(bundle)
		hook.Name = fmt.Sprintf("try-%d.%s", i+1, hook.Name)
		hook.FailurePolicy, hook.TimeoutSeconds = new(admissionv1.Ignore), new(int32(trySeconds))
		if i >= always {
			hook.MatchConditions = append(hook.MatchConditions, admissionv1.MatchCondition{
				Name: "unanswered", Expression: admit.UnansweredExpression(),
			})
		}
		config.Webhooks = append(config.Webhooks, hook)
	}
	return config
}

// hook is one of the webhooks, and must be answered.
func (w *Webhook) hook(bundle []byte) admissionv1.MutatingWebhook {
	client := admissionv1.WebhookClientConfig{CABundle: bundle}
	if w.URL != "" {
		client.URL = new(strings.TrimSuffix(w.URL, "/") + Path)
	} else {
		client.Service = &admissionv1.ServiceReference{Namespace: w.Namespace, Name: w.Service, Path: new(Path), Port: new(int32(443))}
	}
	return admissionv1.MutatingWebhook{
		Name:         "pods.outrigger.dev",
		ClientConfig: client,
		Rules:        []admissionv1.RuleWithOperations{createdPods()},
		// Only marked Pods depend on us, and those have nowhere to run without us.
		MatchConditions: []admissionv1.MatchCondition{{Name: "marked", Expression: admit.MatchExpression()}},
		FailurePolicy:   new(admissionv1.Fail),
		MatchPolicy:     new(admissionv1.Equivalent),
		// The controller's own Pods and the cluster's must start when we do not answer, whatever they say.
		NamespaceSelector: w.namespaces(),
		ObjectSelector:    &metav1.LabelSelector{},
		// What other webhooks add after us, a volume or a sidecar, the relays are to know.
		ReinvocationPolicy:      new(admissionv1.IfNeededReinvocationPolicy),
		SideEffects:             new(admissionv1.SideEffectClassNone),
		TimeoutSeconds:          new(int32(seconds)),
		AdmissionReviewVersions: []string{"v1"},
	}
}

// createdPods is what we are asked about.
func createdPods() admissionv1.RuleWithOperations {
	return admissionv1.RuleWithOperations{
		Operations: []admissionv1.OperationType{admissionv1.Create},
		Rule: admissionv1.Rule{
			APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"pods"},
			Scope: new(admissionv1.NamespacedScope),
		},
	}
}

// namespaces are those whose Pods we are asked about.
func (w *Webhook) namespaces() *metav1.LabelSelector {
	return &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{
		Key: corev1.LabelMetadataName, Operator: metav1.LabelSelectorOpNotIn, Values: []string{metav1.NamespaceSystem, w.Namespace},
	}}}
}
