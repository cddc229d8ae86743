package webhook

import (
	admissionv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"outrigger.dev/outrigger/internal/admit"
)

// Policy is the name of the ValidatingAdmissionPolicy, and of its binding: the API server
// itself refuses marked Pods about which nobody answered. It needs none of us for that.
const Policy = "outrigger-unanswered"

// again is said of a Pod that may be created again as it is. Tekton gives a TaskRun up when its
// Pod cannot be created, but for few errors: after one that forbids it and has these two words
// it tries again a minute later (isExceededResourceQuotaError in pkg/reconciler/taskrun of v1.12.0).
const again = "It may be created again in a moment. No quota is in the way, but Tekton tries again " +
	"when it reads: exceeded quota"

const unanswered = "no controller of Outrigger answers, so this Pod cannot be given a machine. " + again

// policy is the policy as it is to be, and its binding, with every field said.
func (w *Webhook) policy() (*admissionv1.ValidatingAdmissionPolicy, *admissionv1.ValidatingAdmissionPolicyBinding) {
	created := admissionv1.NamedRuleWithOperations{RuleWithOperations: createdPods()}
	return &admissionv1.ValidatingAdmissionPolicy{
			ObjectMeta: metav1.ObjectMeta{Name: Policy},
			Spec: admissionv1.ValidatingAdmissionPolicySpec{
				FailurePolicy: new(admissionv1.Fail),
				MatchConstraints: &admissionv1.MatchResources{
					ResourceRules: []admissionv1.NamedRuleWithOperations{created}, MatchPolicy: new(admissionv1.Equivalent),
					NamespaceSelector: w.namespaces(), ObjectSelector: &metav1.LabelSelector{},
				},
				// As in the configuration: the one that costs less is in front, and no failure of the
				// other counts where it is false.
				MatchConditions: []admissionv1.MatchCondition{
					{Name: "unanswered", Expression: admit.UnansweredExpression()},
					{Name: "marked", Expression: admit.MatchExpression()},
				},
				Validations: []admissionv1.Validation{{
					Expression: "false", Message: unanswered, Reason: new(metav1.StatusReasonForbidden),
				}},
			},
		}, &admissionv1.ValidatingAdmissionPolicyBinding{
			ObjectMeta: metav1.ObjectMeta{Name: Policy},
			Spec: admissionv1.ValidatingAdmissionPolicyBindingSpec{
				PolicyName: Policy, ValidationActions: []admissionv1.ValidationAction{admissionv1.Deny},
			},
		}
}
