package webhook

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/rand"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"outrigger.dev/outrigger/api/v1alpha1"
	"outrigger.dev/outrigger/internal/admit"
	"outrigger.dev/outrigger/internal/fault"
)

// An answerer answers one question after the other. It changes nothing anywhere.
type answerer struct {
	decoder admission.Decoder
	cached  client.Reader
	live    client.Reader
	relay   admit.Config
	log     *slog.Logger
}

// suffix is how many random characters end a claim's name.
const suffix = 5

// Handle implements [admission.Handler].
func (h *answerer) Handle(ctx context.Context, req admission.Request) admission.Response {
	var pod corev1.Pod
	if err := h.decoder.Decode(req, &pod); err != nil {
		return admission.Errored(http.StatusBadRequest, err)
	}
	pod.Namespace = req.Namespace // the API server fills it in later
	admitted, err := h.mutate(ctx, h.cached, &pod)
	if err != nil {
		// The cache may be a moment behind: the pool or the namespace was just made.
		admitted, err = h.mutate(ctx, h.live, &pod)
	}
	name := pod.Namespace + "/" + pod.Name
	if pod.Name == "" {
		name = pod.Namespace + "/" + pod.GenerateName + "?"
	}
	switch {
	case fault.Is(err, fault.Config):
		h.log.Info("pod refused", "pod", name, "user", req.UserInfo.Username, "why", err)
		return admission.Denied(spoken(err))
	case err != nil:
		h.log.Error("pod not judged", "pod", name, "error", err)
		return admission.Errored(http.StatusInternalServerError, err)
	case admitted == &pod:
		return admission.Allowed("") // not marked: somebody else's configuration asks us
	}
	changed, err := changedOnly(req.Object.Raw, &pod, admitted)
	if err != nil {
		return admission.Errored(http.StatusInternalServerError, err)
	}
	h.log.Debug("pod rewritten", "pod", name, "claim", admitted.Labels[v1alpha1.LabelClaim], "dryRun", req.DryRun != nil && *req.DryRun)
	return admission.PatchResponseFromRaw(req.Object.Raw, changed).WithWarnings(admit.Warnings(admitted)...)
}

// spoken is what the user reads: what is wrong, and what to do.
func spoken(err error) string {
	text := err.Error()
	if remedy := fault.Remedy(err); remedy != "" {
		text += ". " + remedy
	}
	return text
}

// mutate asks package admit, with what reader knows of pools and the namespace.
func (h *answerer) mutate(ctx context.Context, reader client.Reader, pod *corev1.Pod) (*corev1.Pod, error) {
	if !admit.Marked(pod) {
		return pod, nil
	}
	var ns corev1.Namespace
	if err := reader.Get(ctx, client.ObjectKey{Name: pod.Namespace}, &ns); err != nil {
		return nil, fault.New(fault.Unreachable, "namespace %s: %w", pod.Namespace, err)
	}
	var list v1alpha1.MachinePoolList
	if err := reader.List(ctx, &list); err != nil {
		return nil, fault.New(fault.Unreachable, "pools: %w", err)
	}
	var ranges corev1.LimitRangeList
	if err := reader.List(ctx, &ranges, client.InNamespace(pod.Namespace)); err != nil {
		return nil, fault.New(fault.Unreachable, "limit ranges of namespace %s: %w", pod.Namespace, err)
	}
	var pools []admit.Pool
	for _, p := range list.Items {
		if !p.DeletionTimestamp.IsZero() {
			continue
		}
		pool := admit.Pool{Name: p.Name, OS: p.Spec.OS, Arch: p.Spec.Arch, Labels: p.Labels}
		if s := p.Spec.AllowedNamespaces; s != nil {
			selector, err := metav1.LabelSelectorAsSelector(s)
			if err != nil {
				// The CRD's schema lets some through. Nobody may use such a pool, rather than everybody.
				h.log.Error("pool not used", "pool", p.Name, "allowedNamespaces", err)
				continue
			}
			pool.Namespaces = selector
		}
		pools = append(pools, pool)
	}
	return admit.Mutate(pod, admit.Namespace{Namespace: &ns, Ranges: ranges.Items}, pools, h.relay, func() string { return rand.String(suffix) })
}

// changedOnly makes in raw the changes that lead from before to after, and no others: fields
// that a newer API server has and our types lack are kept.
func changedOnly(raw []byte, before, after *corev1.Pod) ([]byte, error) {
	var object any
	if err := json.Unmarshal(raw, &object); err != nil {
		return nil, err
	}
	from, err := untyped(before)
	if err != nil {
		return nil, err
	}
	to, err := untyped(after)
	if err != nil {
		return nil, err
	}
	return json.Marshal(graft(object, from, to))
}

func untyped(pod *corev1.Pod) (object any, err error) {
	b, err := json.Marshal(pod)
	if err != nil {
		return nil, err
	}
	return object, json.Unmarshal(b, &object)
}
