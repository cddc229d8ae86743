package admit

import (
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"outrigger.dev/outrigger/api/v1alpha1"
)

// freezeFields writes out what the Pod says of the resources of relayed containers: the kubelet
// would say what their relays may use. What the user did not limit is the node's, which
// nobody knows yet; it returns what of each container is asked for so. Of that its
// relay must have no limit either.
func (r *rewrite) freezeFields() (asked map[string]map[corev1.ResourceName]bool) {
	f := freezer{rewrite: r, users: map[string]*relayed{}, asked: map[string]map[corev1.ResourceName]bool{}}
	for _, c := range r.relayed {
		if !c.again {
			f.users[c.Name] = c
		}
	}
	for _, list := range [][]corev1.Container{r.Spec.InitContainers, r.Spec.Containers} {
		for i := range list {
			f.variables(&list[i])
		}
	}
	for _, v := range r.Spec.Volumes {
		if v.DownwardAPI != nil {
			f.files(v.DownwardAPI.Items)
		}
		if v.Projected == nil {
			continue
		}
		for _, s := range v.Projected.Sources {
			if s.DownwardAPI != nil {
				f.files(s.DownwardAPI.Items)
			}
		}
	}
	return f.asked
}

// A freezer writes out references to users.
type freezer struct {
	*rewrite
	users map[string]*relayed
	asked map[string]map[corev1.ResourceName]bool
	keys  map[string]string // annotations, by value
}

func (f *freezer) variables(c *corev1.Container) {
	for i := range c.Env {
		e := &c.Env[i]
		if e.ValueFrom == nil || e.ValueFrom.ResourceFieldRef == nil {
			continue
		}
		if value, ok := f.value(c.Name, e.ValueFrom.ResourceFieldRef); ok {
			e.Value, e.ValueFrom = value, nil
		}
	}
}

// files lets files of a volume say what an annotation says: a file cannot have a value of its own.
func (f *freezer) files(items []corev1.DownwardAPIVolumeFile) {
	for i := range items {
		if items[i].ResourceFieldRef == nil {
			continue
		}
		if value, ok := f.value("", items[i].ResourceFieldRef); ok {
			items[i].FieldRef = &corev1.ObjectFieldSelector{APIVersion: "v1", FieldPath: "metadata.annotations['" + f.annotation(value) + "']"}
			items[i].ResourceFieldRef = nil
		}
	}
}

// annotation returns the one that has the value.
func (f *freezer) annotation(value string) string {
	if f.keys == nil {
		f.keys = map[string]string{}
		for key, v := range f.Annotations {
			if strings.HasPrefix(key, v1alpha1.AnnotationFieldPrefix) {
				if f.before.wrapped == nil {
					delete(f.Annotations, key) // nobody has made it yet
				} else {
					f.keys[v] = key
				}
			}
		}
	}
	key, ok := f.keys[value]
	if !ok {
		key = v1alpha1.AnnotationFieldPrefix + value
		f.keys[value] = key
		if f.Annotations == nil {
			f.Annotations = map[string]string{}
		}
		f.Annotations[key] = value
	}
	return key
}

// value is what a reference that is in the container of that name says of a relayed one.
func (f *freezer) value(in string, ref *corev1.ResourceFieldSelector) (string, bool) {
	if ref.ContainerName != "" {
		in = ref.ContainerName
	}
	c := f.users[in]
	if c == nil {
		return "", false
	}
	kind, name, _ := strings.Cut(ref.Resource, ".")
	resource := corev1.ResourceName(name)
	if resource == corev1.ResourceEphemeralStorage { // that of the relay is the user's
		return "", false
	}
	limit, limited := c.Resources.Limits[resource]
	if all := f.Spec.Resources; !limited && all != nil {
		limit, limited = all.Limits[resource] // as the kubelet has it
	}
	asked, said := c.Resources.Requests[resource]
	switch {
	case kind == "limits" && limited:
		return inUnits(limit, ref.Divisor), true
	case kind == "limits":
		if f.asked[in] == nil {
			f.asked[in] = map[corev1.ResourceName]bool{}
		}
		f.asked[in][resource] = true
	case kind == "requests" && !said:
		// A request that is not said is the container's limit, as the API server has it, else nothing.
		return inUnits(c.Resources.Limits[resource], ref.Divisor), true
	case kind == "requests":
		return inUnits(asked, ref.Divisor), true
	}
	return "", false
}

// inUnits is what the kubelet makes of a quantity: in units of the divisor, rounded up
// (k8s.io/kubectl/pkg/util/resource, ExtractContainerResourceValue).
func inUnits(q, divisor resource.Quantity) string {
	if divisor.IsZero() {
		divisor = resource.MustParse("1")
	}
	unit := divisor.MilliValue()
	return strconv.FormatInt((q.MilliValue()+unit-1)/unit, 10)
}
