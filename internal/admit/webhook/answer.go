package webhook

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"reflect"
	"slices"
	"strings"

	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
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
	admitted, err := h.mutate(ctx, &pod)
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
		return admission.Denied("this Pod could not be looked at (" + spoken(err) + "). " + again)
	case admitted == &pod:
		return admission.Allowed("") // not marked: somebody else's configuration asks us
	}
	patch, err := patchFrom(req.Object.Raw, &pod, admitted)
	if err != nil {
		return admission.Errored(http.StatusInternalServerError, err)
	}
	h.log.Debug("pod rewritten", "pod", name, "claim", admitted.Labels[v1alpha1.LabelClaim], "dryRun", req.DryRun != nil && *req.DryRun)
	r := admission.Response{AdmissionResponse: admissionv1.AdmissionResponse{Allowed: true, Warnings: admit.Warnings(admitted)}}
	if patch != nil {
		r.Patch, r.PatchType = patch, new(admissionv1.PatchTypeJSONPatch)
	}
	return r
}

// spoken is what the user reads: what is wrong, and what to do.
func spoken(err error) string {
	text := err.Error()
	if remedy := fault.Remedy(err); remedy != "" {
		text += ". " + remedy
	}
	return text
}

// mutate asks package admit.
func (h *answerer) mutate(ctx context.Context, pod *corev1.Pod) (*corev1.Pod, error) {
	if !admit.Marked(pod) {
		return pod, nil
	}
	known, err := h.know(ctx, h.cached, pod.Namespace)
	if err == nil {
		admitted, denied := h.ask(ctx, pod, known)
		if !errors.Is(denied, admit.ErrPool) {
			return admitted, denied
		}
		err = denied
	}
	// The cache may be a moment behind: the pool or the namespace was just made.
	now, liveErr := h.know(ctx, h.live, pod.Namespace)
	switch {
	case liveErr != nil && known.version == "":
		return nil, liveErr
	case liveErr != nil || now.version == known.version:
		return nil, err // another look would see the same
	}
	return h.ask(ctx, pod, now)
}

func (h *answerer) ask(ctx context.Context, pod *corev1.Pod, k known) (*corev1.Pod, error) {
	return admit.Mutate(ctx.Err, pod, k.ns, k.pools, h.relay, func() string { return rand.String(suffix) })
}

// A known is what is known of the pools and of one namespace.
type known struct {
	ns      admit.Namespace
	pools   []admit.Pool
	version string // of all of it; "": nothing is known
}

// know asks reader.
func (h *answerer) know(ctx context.Context, reader client.Reader, namespace string) (known, error) {
	var ns corev1.Namespace
	if err := reader.Get(ctx, client.ObjectKey{Name: namespace}, &ns); err != nil {
		return known{}, fault.New(fault.Unreachable, "namespace %s: %w", namespace, err)
	}
	var list v1alpha1.MachinePoolList
	if err := reader.List(ctx, &list); err != nil {
		return known{}, fault.New(fault.Unreachable, "pools: %w", err)
	}
	var ranges corev1.LimitRangeList
	if err := reader.List(ctx, &ranges, client.InNamespace(namespace)); err != nil {
		return known{}, fault.New(fault.Unreachable, "limit ranges of namespace %s: %w", namespace, err)
	}
	k := known{ns: admit.Namespace{Namespace: &ns, Ranges: ranges.Items}}
	versions := []string{string(ns.UID) + ns.ResourceVersion}
	for _, p := range list.Items {
		if !p.DeletionTimestamp.IsZero() {
			continue
		}
		pool := admit.Pool{Name: p.Name, OS: p.Spec.OS, Arch: p.Spec.Arch, Labels: p.Labels, Root: runsAsRoot(&p.Spec), MaxPriority: p.Spec.MaxPriority}
		if s := p.Spec.AllowedNamespaces; s != nil {
			selector, err := metav1.LabelSelectorAsSelector(s)
			if err != nil {
				// The CRD's schema lets some through. Nobody may use such a pool, rather than everybody.
				h.log.Error("pool not used", "pool", p.Name, "allowedNamespaces", err)
				continue
			}
			pool.Namespaces = selector
		}
		k.pools = append(k.pools, pool)
		// What the controller counts in a pool's status is no other pool.
		versions = append(versions, fmt.Sprintf("%s/%s/%d/%s", p.Name, p.UID, p.Generation, labels.Set(p.Labels)))
	}
	slices.Sort(versions)
	k.version = strings.Join(versions, ";")
	return k, nil
}

// runsAsRoot tells whether commands are root's on the pool's machines, and the operator has not accepted that for Pods
// that must not run as root.
func runsAsRoot(s *v1alpha1.MachinePoolSpec) bool {
	root := s.OS != "windows" && s.Login != nil && s.Login.User == "root" && s.Trust != v1alpha1.TrustNone
	return root && s.NonRootPods != v1alpha1.NonRootAccept
}

// An operation is one of a JSON patch (RFC 6902).
type operation struct {
	Op    string `json:"op"`
	Path  string `json:"path"`
	Value any    `json:"value"`
}

// patchFrom is nil if nothing is to be changed. It makes in raw the changes that lead from before to after, and no others: fields
// that a newer API server has and our types lack are kept. What of the Pod differs is
// replaced whole: to look for the smallest patch can take for ever, as those who make a
// Pod can make it nested.
func patchFrom(raw []byte, before, after *corev1.Pod) ([]byte, error) {
	var object map[string]any
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
	var patch []operation
	for _, part := range []string{"metadata", "spec"} { // of which we change something
		now := graft(object[part], from[part], to[part])
		if !reflect.DeepEqual(object[part], now) {
			patch = append(patch, operation{"add", "/" + part, now}) // replaces what is there
		}
	}
	if patch == nil {
		return nil, nil
	}
	return json.Marshal(patch)
}

func untyped(pod *corev1.Pod) (object map[string]any, err error) {
	b, err := json.Marshal(pod)
	if err != nil {
		return nil, err
	}
	return object, json.Unmarshal(b, &object)
}
