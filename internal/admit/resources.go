package admit

import (
	"maps"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// relayCPU is a relay's limit where the user set one. A guess: compression is what takes it.
var relayCPU = resource.MustParse("1")

// record notes what the containers asked for and gives them what relays need.
func (r *rewrite) record() {
	var total corev1.ResourceRequirements
	for _, c := range r.relayed {
		if c.again {
			continue
		}
		// Steps run one after the other: what the largest asks for is enough.
		merge(&total.Requests, c.Resources.Requests, c.tekton)
		merge(&total.Limits, c.Resources.Limits, c.tekton)
		freezeFields(c.Container)
		c.Resources = r.relayResources(c.Resources)
	}
	if all := r.Spec.Resources; all != nil && r.before.wrapped == nil && len(r.relayed) == len(r.Spec.Containers) {
		// The Pod asks as a whole; so does the claim.
		merge(&total.Requests, all.Requests, true)
		merge(&total.Limits, all.Limits, true)
		r.Spec.Resources = nil
	}
	if total.Requests != nil || total.Limits != nil {
		r.before.resources = &total
	}
}

func merge(into *corev1.ResourceList, from corev1.ResourceList, largest bool) {
	for name, q := range from {
		if *into == nil {
			*into = corev1.ResourceList{}
		}
		sum := (*into)[name].DeepCopy()
		switch {
		case !largest:
			sum.Add(q)
		case q.Cmp(sum) > 0:
			sum = q.DeepCopy()
		}
		(*into)[name] = sum
	}
}

// relayResources are a relay's own, but for ephemeral storage: volumes count there,
// and they are in the Pod. The user's CPU limit tells that there is to be one. Then
// the namespace has its say.
func (r *rewrite) relayResources(user corev1.ResourceRequirements) corev1.ResourceRequirements {
	out := corev1.ResourceRequirements{Requests: maps.Clone(r.cfg.Requests), Limits: maps.Clone(r.cfg.Limits)}
	keep := func(into *corev1.ResourceList, from corev1.ResourceList) {
		if q, ok := from[corev1.ResourceEphemeralStorage]; ok {
			if *into == nil {
				*into = corev1.ResourceList{}
			}
			(*into)[corev1.ResourceEphemeralStorage] = q
		}
	}
	keep(&out.Requests, user.Requests)
	keep(&out.Limits, user.Limits)
	if _, set := out.Limits[corev1.ResourceCPU]; !set {
		if _, wanted := user.Limits[corev1.ResourceCPU]; wanted {
			if out.Limits == nil {
				out.Limits = corev1.ResourceList{}
			}
			out.Limits[corev1.ResourceCPU] = relayCPU
		}
	}
	r.ns.within(&out, user)
	return out
}
