package admit

import (
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// freezeFields writes out the variables that say what the container may use: the
// kubelet would say what its relay may. What the user did not limit is the node's, and stays.
func freezeFields(c *corev1.Container) {
	for i := range c.Env {
		e := &c.Env[i]
		if e.ValueFrom == nil || e.ValueFrom.ResourceFieldRef == nil {
			continue
		}
		ref := e.ValueFrom.ResourceFieldRef
		if ref.ContainerName != "" && ref.ContainerName != c.Name {
			continue
		}
		if value, ok := field(c.Resources, ref); ok {
			e.Value, e.ValueFrom = value, nil
		}
	}
}

// field is the value that the kubelet makes of a reference: in units of the divisor, rounded
// up (k8s.io/kubectl/pkg/util/resource, ExtractContainerResourceValue). A request that
// is not said is the limit, as the API server has it.
func field(r corev1.ResourceRequirements, ref *corev1.ResourceFieldSelector) (string, bool) {
	kind, name, _ := strings.Cut(ref.Resource, ".")
	q, ok := r.Limits[corev1.ResourceName(name)]
	if kind == "requests" {
		if asked, said := r.Requests[corev1.ResourceName(name)]; said {
			q, ok = asked, true
		}
	} else if kind != "limits" {
		return "", false
	}
	if !ok || name == string(corev1.ResourceEphemeralStorage) { // that of the relay is the user's
		return "", false
	}
	divisor := ref.Divisor
	if divisor.IsZero() {
		divisor = resource.MustParse("1")
	}
	unit := divisor.MilliValue()
	return strconv.FormatInt((q.MilliValue()+unit-1)/unit, 10), true
}
