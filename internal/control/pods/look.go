package pods

import (
	"context"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"outrigger.dev/outrigger/api/v1alpha1"
)

// A look is what is known of one claim and of the Pods that name it. Steps replace what
// they have written by the API server's answer.
type look struct {
	client.ObjectKey
	claim *v1alpha1.MachineClaim // nil: there is none
	seats []*seat                // the holder's first
}

// A seat is a Pod that names the claim, or its holder.
type seat struct {
	pod    *corev1.Pod                // nil: gone, says the API server itself, or a run
	hidden bool                       // no event tells of it: a run, or a Pod that has lost its label
	kind   string                     // of a run; "": it is a Pod
	run    *unstructured.Unstructured // nil: gone, or a Pod
}

// about is the object that events are about; nil: it is gone.
func (s *seat) about() client.Object {
	switch {
	case s.pod != nil:
		return s.pod
	case s.run != nil:
		return s.run
	}
	return nil
}

// look reads the caches, and asks the API server itself where the cache has no holder.
func (r *reconciler) look(ctx context.Context, name client.ObjectKey) (*look, error) {
	l := &look{ObjectKey: name}
	var c v1alpha1.MachineClaim
	switch err := r.client.Get(ctx, name, &c); {
	case err == nil:
		l.claim = &c
	case !apierrors.IsNotFound(err):
		return l, err
	}
	var pods corev1.PodList
	if err := r.client.List(ctx, &pods, client.InNamespace(name.Namespace), client.MatchingFields{byClaim: name.Name}); err != nil {
		return l, err
	}
	slices.SortFunc(pods.Items, func(a, b corev1.Pod) int { // who asks first, gets it
		if n := a.CreationTimestamp.Compare(b.CreationTimestamp.Time); n != 0 {
			return n
		}
		return strings.Compare(string(a.UID), string(b.UID))
	})
	for i := range pods.Items {
		l.seats = append(l.seats, &seat{pod: &pods.Items[i]})
	}
	return l, r.addHolder(ctx, l)
}

// addHolder sees to it that the claim's holder is among the seats, and the first. That
// it is gone is for good, and a cache that is behind looks the same: so the API server is asked.
func (r *reconciler) addHolder(ctx context.Context, l *look) error {
	if l.claim == nil || l.claim.Spec.Holder == nil {
		return nil
	}
	h := l.claim.Spec.Holder
	if h.Kind != "Pod" {
		return r.addRun(ctx, l, h)
	}
	if i := slices.IndexFunc(l.seats, func(s *seat) bool { return string(s.pod.UID) == h.UID }); i >= 0 {
		holder := l.seats[i]
		l.seats = slices.Insert(slices.Delete(l.seats, i, i+1), 0, holder)
		return nil
	}
	holder := &seat{pod: &corev1.Pod{}}
	err := r.live.Get(ctx, client.ObjectKey{Namespace: l.Namespace, Name: h.Name}, holder.pod)
	switch {
	case apierrors.IsNotFound(err), err == nil && string(holder.pod.UID) != h.UID:
		holder.pod = nil
	case err != nil:
		return err
	default:
		holder.hidden = holder.pod.Labels[v1alpha1.LabelClaim] != l.Name
	}
	l.seats = slices.Insert(l.seats, 0, holder)
	return nil
}

// snapshot is what is known of one of them.
func (r *reconciler) snapshot(ctx context.Context, l *look, s *seat) (Snapshot, error) {
	wrong := ""
	if l.claim == nil && s.pod != nil && isGated(s.pod) {
		var err error
		if wrong, err = r.wrong(ctx, s.pod); err != nil {
			return Snapshot{}, err
		}
	}
	out := Snapshot{Now: r.now(), Pod: describe(s.pod, wrong), Claim: claimed(l.claim, s.about())}
	if s.kind != "" {
		out.Pod = describeRun(s)
	}
	if l.claim == nil {
		return out, nil
	}
	if text := l.claim.Annotations[v1alpha1.ResultsLeft]; text != "" {
		out.Pod.Left = text
	}
	var err error
	counts := out.Pod.End != Running && out.Claim.KeptSince.IsZero() && (out.Claim.Keep > 0 || out.Pod.Left != "")
	out.Claim.Limits, err = r.limits(ctx, l.claim, counts)
	return out, err
}

// wrong says why a Pod may not have what it asks for, or "". The webhook has looked
// already; but who may change a Pod's annotations may write there what it would refuse.
func (r *reconciler) wrong(ctx context.Context, pod *corev1.Pod) (string, error) {
	spec, wrong := request(pod)
	if wrong != "" {
		return wrong, nil
	}
	var pool v1alpha1.MachinePool
	if err := r.client.Get(ctx, client.ObjectKey{Name: spec.Pool}, &pool); err != nil {
		return "", client.IgnoreNotFound(err) // the claim says that it is not there
	}
	if pool.Spec.AllowedNamespaces == nil {
		return "", nil
	}
	allowed, err := metav1.LabelSelectorAsSelector(pool.Spec.AllowedNamespaces)
	if err != nil {
		return fmt.Sprintf("pool %s: allowedNamespaces: %v", pool.Name, err), nil
	}
	var ns corev1.Namespace
	if err := r.client.Get(ctx, client.ObjectKey{Name: pod.Namespace}, &ns); err != nil {
		return "", err
	}
	if !allowed.Matches(labels.Set(ns.Labels)) {
		return fmt.Sprintf("pool %s may not be used in namespace %s: its allowedNamespaces is %s", pool.Name, pod.Namespace, allowed), nil
	}
	return "", nil
}
