package webhook

import (
	"strings"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"outrigger.dev/outrigger/internal/admit"
)

// seconds is how long the API server waits for an answer, which takes milliseconds.
const seconds = 10

// configuration is the MutatingWebhookConfiguration as it is to be, with every field said: what
// the API server fills in would else look like somebody's change.
func (w *Webhook) configuration(bundle []byte) *admissionv1.MutatingWebhookConfiguration {
	client := admissionv1.WebhookClientConfig{CABundle: bundle}
	if w.URL != "" {
		client.URL = new(strings.TrimSuffix(w.URL, "/") + Path)
	} else {
		client.Service = &admissionv1.ServiceReference{Namespace: w.Namespace, Name: w.Service, Path: new(Path), Port: new(int32(443))}
	}
	return &admissionv1.MutatingWebhookConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: Configuration},
		Webhooks: []admissionv1.MutatingWebhook{{
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
		}},
	}
}
