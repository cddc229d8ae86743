package admit

import (
	"cmp"
	"math"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// A Namespace is what is to be known of the Pod's.
type Namespace struct {
	*corev1.Namespace
	Ranges []corev1.LimitRange
}

// within brings a relay's resources into what the namespace's LimitRanges allow: the API
// server looks at them again after us. The user's own have passed already, so
// what a range says of the Pod as a whole is met by not going past those.
func (n Namespace) within(ours *corev1.ResourceRequirements, users corev1.ResourceRequirements) {
	for _, lr := range n.Ranges {
		for _, item := range lr.Spec.Limits {
			switch item.Type {
			case corev1.LimitTypeContainer:
				atLeast(&ours.Requests, item.Min)
				present(&ours.Limits, item.Max)
				atMost(ours.Requests, item.Max)
				atMost(ours.Limits, item.Max)
			case corev1.LimitTypePod:
				// One container that asks for the minimum is enough for the Pod, and
				// without one the users' asked for it together.
				atLeast(&ours.Requests, lower(users.Requests, item.Min))
				present(&ours.Limits, lower(users.Limits, item.Max))
				atMost(ours.Limits, lower(users.Limits, item.Max))
			default:
				continue
			}
			// A limit that is the request or more, and not too many times as much.
			for name, request := range ours.Requests {
				if limit, set := ours.Limits[name]; set && limit.Cmp(request) < 0 {
					ours.Limits[name] = request
				}
			}
			for name, ratio := range item.MaxLimitRequestRatio {
				if limit, set := ours.Limits[name]; set {
					atLeast(&ours.Requests, corev1.ResourceList{name: divide(name, limit, ratio)})
				}
			}
		}
	}
}

// atLeast raises what is less than floor says, and adds what is missing.
func atLeast(list *corev1.ResourceList, floor corev1.ResourceList) {
	for name, least := range floor {
		if q, set := (*list)[name]; !set || q.Cmp(least) < 0 {
			put(list, name, least)
		}
	}
}

// present adds what is missing.
func present(list *corev1.ResourceList, from corev1.ResourceList) {
	for name, q := range from {
		if _, set := (*list)[name]; !set {
			put(list, name, q)
		}
	}
}

// atMost lowers what is more than ceiling says.
func atMost(list, ceiling corev1.ResourceList) {
	for name, most := range ceiling {
		if q, set := list[name]; set && q.Cmp(most) > 0 {
			list[name] = most
		}
	}
}

// lower returns the lesser of each resource that both have.
func lower(a, b corev1.ResourceList) corev1.ResourceList {
	out := corev1.ResourceList{}
	for name, q := range a {
		if other, set := b[name]; set {
			if q.Cmp(other) > 0 {
				q = other
			}
			out[name] = q
		}
	}
	return out
}

// divide rounds up to what a resource is counted in: thousandths of a processor, bytes.
func divide(name corev1.ResourceName, q, by resource.Quantity) resource.Quantity {
	scale := resource.Milli
	if name != corev1.ResourceCPU {
		scale = 0
	}
	parts := math.Ceil(float64(q.ScaledValue(scale)) / cmp.Or(by.AsApproximateFloat64(), 1))
	return *resource.NewScaledQuantity(int64(parts), scale)
}

func put(list *corev1.ResourceList, name corev1.ResourceName, q resource.Quantity) {
	if *list == nil {
		*list = corev1.ResourceList{}
	}
	(*list)[name] = q.DeepCopy()
}
