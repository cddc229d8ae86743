package webhook

import (
	"context"
	"net/url"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"
)

// A keeper keeps the Secret, the policy and the configuration as they are to be, in the
// replica that leads.
type keeper struct {
	*Webhook
	client client.Client
	live   client.Reader
}

// setupKeeper lets the keeper look once at the beginning, when one of the objects changes,
// and when the certificates want it.
func (w *Webhook) setupKeeper(mgr ctrl.Manager) error {
	k := &keeper{Webhook: w, client: mgr.GetClient(), live: mgr.GetAPIReader()}
	all := handler.EnqueueRequestsFromMapFunc(func(context.Context, client.Object) []reconcile.Request {
		return []reconcile.Request{{}}
	})
	return ctrl.NewControllerManagedBy(mgr).Named("webhook").
		Watches(&corev1.Secret{}, all).
		Watches(&admissionv1.MutatingWebhookConfiguration{}, all).
		Watches(&admissionv1.ValidatingAdmissionPolicy{}, all).
		Watches(&admissionv1.ValidatingAdmissionPolicyBinding{}, all).
		WatchesRawSource(source.Func(func(_ context.Context, q workqueue.TypedRateLimitingInterface[reconcile.Request]) error {
			q.Add(reconcile.Request{})
			return nil
		})).
		Complete(k)
}

// Reconcile implements [reconcile.Reconciler]. It reads the objects themselves, not a cache: there
// are few, and what is decided from an old certificate would be wrong for everybody.
func (k *keeper) Reconcile(ctx context.Context, _ reconcile.Request) (reconcile.Result, error) {
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: k.Namespace, Name: Secret}}
	if err := k.live.Get(ctx, client.ObjectKeyFromObject(secret), secret); client.IgnoreNotFound(err) != nil {
		return reconcile.Result{}, err
	}
	config := &admissionv1.MutatingWebhookConfiguration{ObjectMeta: metav1.ObjectMeta{Name: Configuration}}
	if err := k.live.Get(ctx, client.ObjectKeyFromObject(config), config); client.IgnoreNotFound(err) != nil {
		return reconcile.Result{}, err
	}
	now := time.Now()
	have := ParsePairs(secret.Data)
	want, changed, again, err := have.Next(now, k.names(), tells(config, have.Bundle), k.Times, generate)
	if err != nil {
		return reconcile.Result{}, err
	}
	if changed {
		// What the Secret says now, the configuration says next: this write leads here again.
		secret.Data = want.Data()
		return reconcile.Result{RequeueAfter: time.Second}, k.write(ctx, secret, "certificates")
	}
	// First: the configuration lets Pods pass about which nobody answered.
	if err := k.keepPolicy(ctx); err != nil {
		return reconcile.Result{}, err
	}
	wanted := k.configuration(want.Bundle)
	if !isAsWanted(config, wanted) {
		config.Webhooks = wanted.Webhooks
		if err := k.write(ctx, config, "configuration"); err != nil {
			return reconcile.Result{}, err
		}
		again = now
	}
	return reconcile.Result{RequeueAfter: max(again.Sub(now), 10*time.Millisecond)}, nil
}

// keepPolicy keeps the policy, and its binding.
func (k *keeper) keepPolicy(ctx context.Context) error {
	policy, binding := k.policy()
	var have admissionv1.ValidatingAdmissionPolicy
	if err := k.live.Get(ctx, client.ObjectKeyFromObject(policy), &have); client.IgnoreNotFound(err) != nil {
		return err
	}
	if have.ResourceVersion == "" || !equality.Semantic.DeepEqual(have.Spec, policy.Spec) {
		policy.ObjectMeta = named(have.ObjectMeta, Policy)
		if err := k.write(ctx, policy, "policy"); err != nil {
			return err
		}
	}
	var bound admissionv1.ValidatingAdmissionPolicyBinding
	if err := k.live.Get(ctx, client.ObjectKeyFromObject(binding), &bound); client.IgnoreNotFound(err) != nil {
		return err
	}
	if bound.ResourceVersion == "" || !equality.Semantic.DeepEqual(bound.Spec, binding.Spec) {
		binding.ObjectMeta = named(bound.ObjectMeta, Policy)
		return k.write(ctx, binding, "binding of the policy")
	}
	return nil
}

// named is what is written of an object that was read, or is not there yet.
func named(have metav1.ObjectMeta, name string) metav1.ObjectMeta {
	have.Name = name
	return have
}

// write creates the object, or updates what was read: not what somebody else made of it since.
func (k *keeper) write(ctx context.Context, o client.Object, what string) error {
	var err error
	if o.GetResourceVersion() == "" {
		if o.GetNamespace() == "" {
			owner, err := k.owner(ctx)
			if err != nil {
				return err
			}
			o.SetOwnerReferences(owner)
		}
		err = k.client.Create(ctx, o)
	} else {
		err = k.client.Update(ctx, o)
	}
	if apierrors.IsConflict(err) || apierrors.IsAlreadyExists(err) {
		k.Log.Debug("changed meanwhile", "object", what, "error", err)
		return nil // the change leads here again
	}
	if err == nil {
		k.Log.Info("written", "object", what)
	}
	return err
}

// owner makes what belongs to no namespace go with ours: without anybody to answer, marked
// Pods could not be created.
func (k *keeper) owner(ctx context.Context) ([]metav1.OwnerReference, error) {
	var ns corev1.Namespace
	if err := k.live.Get(ctx, client.ObjectKey{Name: k.Namespace}, &ns); err != nil {
		return nil, err
	}
	return []metav1.OwnerReference{{APIVersion: "v1", Kind: "Namespace", Name: ns.Name, UID: ns.UID}}, nil
}

// names are those by which the API server knows the server.
func (w *Webhook) names() []string {
	if w.URL != "" {
		if u, err := url.Parse(w.URL); err == nil { // else the API server refuses the configuration
			return []string{u.Hostname()}
		}
	}
	service := w.Service + "." + w.Namespace + ".svc"
	return []string{service, service + ".cluster.local"}
}

// tells tells whether all webhooks of the configuration have the bundle.
func tells(config *admissionv1.MutatingWebhookConfiguration, bundle []byte) bool {
	for _, w := range config.Webhooks {
		if string(w.ClientConfig.CABundle) != string(bundle) {
			return false
		}
	}
	return len(config.Webhooks) > 0
}

func isAsWanted(have, want *admissionv1.MutatingWebhookConfiguration) bool {
	return have.ResourceVersion != "" && equality.Semantic.DeepEqual(have.Webhooks, want.Webhooks)
}
