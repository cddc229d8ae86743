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
	// retries is how often it asks again when it got no answer, each time over a connection
	// of its own. While a replica that died is still an endpoint of the Service, half of the
	// connections to one of two are refused; the first that is not serves all that follow.
	retries = 8
	// retrySeconds is how long it waits before it asks again. A Pod's creation may take 30 s in all.
	retrySeconds = 2
)

// configuration is the MutatingWebhookConfiguration as it is to be, with every field said: what
// the API server fills in would else look like somebody's change.
//
// The API server asks a webhook once: whoever creates a Pod in the moment in which a
// replica dies is refused, and Tekton gives its TaskRun up. So it is told of several
// webhooks that are all ours. The first asks; those behind it are for Pods that it was not
// answered about. The last must be answered about every Pod, so that none is admitted whose
// author made it look answered; by then there is a connection, if there can be one.
func (w *Webhook) configuration(bundle []byte) *admissionv1.MutatingWebhookConfiguration {
	config := &admissionv1.MutatingWebhookConfiguration{ObjectMeta: metav1.ObjectMeta{Name: Configuration}}
	for i := range retries + 1 {
		hook := w.hook(bundle)
		if i > 0 && i < retries {
			hook.MatchConditions = append(hook.MatchConditions, admissionv1.MatchCondition{Name: "unanswered", Expression: admit.UnansweredExpression()})
		}
		if i < retries {
			hook.Name = fmt.Sprintf("try-%d.%s", i+1, hook.Name)
			hook.FailurePolicy, hook.TimeoutSeconds = new(admissionv1.Ignore), new(int32(retrySeconds))
		}
		config.Webhooks = append(config.Webhooks, hook)
	}
	return config
}

// hook is one of the webhooks: the one that must be answered.
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
		Rules: []admissionv1.RuleWithOperations{{
			Operations: []admissionv1.OperationType{admissionv1.Create},
			Rule: admissionv1.Rule{
				APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"pods"},
				Scope: new(admissionv1.NamespacedScope),
			},
		}},
		// Only marked Pods depend on us, and those have nowhere to run without us.
		MatchConditions: []admissionv1.MatchCondition{{Name: "marked", Expression: admit.MatchExpression()}},
		FailurePolicy:   new(admissionv1.Fail),
		MatchPolicy:     new(admissionv1.Equivalent),
		// The controller's own Pods and the cluster's must start when we do not answer, whatever they say.
		NamespaceSelector: &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{
			Key: corev1.LabelMetadataName, Operator: metav1.LabelSelectorOpNotIn, Values: []string{metav1.NamespaceSystem, w.Namespace},
		}}},
		ObjectSelector: &metav1.LabelSelector{},
		// What other webhooks add after us, a volume or a sidecar, the relays are to know.
		ReinvocationPolicy:      new(admissionv1.IfNeededReinvocationPolicy),
		SideEffects:             new(admissionv1.SideEffectClassNone),
		TimeoutSeconds:          new(int32(seconds)),
		AdmissionReviewVersions: []string{"v1"},
	}
}
