package admit

import (
	"maps"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// relayCPU is a relay's limit where the user set one. A guess: compression is what takes it.
var relayCPU = resource.MustParse("1")

// leastLimits are what a relay cannot do without, even where the user asked for less.
var leastLimits = corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("32Mi")}

// record notes what the containers asked for and gives them what relays need.
func (r *rewrite) record() {
	var total corev1.ResourceRequirements
	asked := r.freezeFields()
	for _, c := range r.relayed {
		if c.again {
			continue
		}
		// Steps run one after the other: what the largest asks for is enough.
		merge(&total.Requests, c.Resources.Requests, c.tekton)
		merge(&total.Limits, c.Resources.Limits, c.tekton)
		c.Resources = r.relayResources(c.Resources, asked[c.Name])
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

// relayResources are a relay's own, but never more than the user asked for: a quota counts them,
// and the user's fits into it. Ephemeral storage is the user's: volumes count there, and
// they are in the Pod. The user's CPU limit tells that there is to be one. Then the
// namespace has its say. What is in unlimited has no limit.
func (r *rewrite) relayResources(user corev1.ResourceRequirements, unlimited map[corev1.ResourceName]bool) corev1.ResourceRequirements {
	out := corev1.ResourceRequirements{Requests: maps.Clone(r.cfg.Requests), Limits: maps.Clone(r.cfg.Limits)}
	if _, wanted := user.Limits[corev1.ResourceCPU]; wanted {
		present(&out.Limits, corev1.ResourceList{corev1.ResourceCPU: relayCPU})
	}
	for name := range unlimited {
		delete(out.Limits, name)
	}
	atMost(out.Requests, user.Requests)
	atMost(out.Requests, user.Limits)
	atMost(out.Limits, user.Limits)
	// A relay that is killed for its memory serves nobody.
	for name, least := range leastLimits {
		if limit, set := out.Limits[name]; set && limit.Cmp(least) < 0 {
			out.Limits[name] = least.DeepCopy()
		}
	}
	if q, ok := user.Requests[corev1.ResourceEphemeralStorage]; ok {
		put(&out.Requests, corev1.ResourceEphemeralStorage, q)
	}
	if q, ok := user.Limits[corev1.ResourceEphemeralStorage]; ok {
		put(&out.Limits, corev1.ResourceEphemeralStorage, q)
	}
	r.ns.within(&out, user)
	return out
}
