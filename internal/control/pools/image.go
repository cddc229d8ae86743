package pools

import (
	"fmt"

	"k8s.io/apimachinery/pkg/api/meta"

	"outrigger.dev/outrigger/api/v1alpha1"
)

// imageOf is the image that a pool's machines are made from, or why nobody knows of one. Of a
// MachineImage that is built anew it is the former image until the new one is there: so the pool
// goes on meanwhile, and rolls when it changes.
func (v *view) imageOf(p *v1alpha1.MachinePool) (image, why string) {
	from := p.Spec.ImageFrom
	if from == nil {
		return p.Spec.Image, ""
	}
	i := get[*v1alpha1.MachineImage](v.images, from.Name)
	switch {
	case i == nil:
		return "", "there is no MachineImage " + from.Name
	case i.Status.Image != "":
		return i.Status.Image, ""
	}
	why = fmt.Sprintf("MachineImage %s is not built yet", i.Name)
	if c := meta.FindStatusCondition(i.Status.Conditions, v1alpha1.ImageBuilt); c != nil {
		why += fmt.Sprintf(": %s: %s", c.Reason, c.Message)
	}
	return "", why
}

// poolsFrom returns the names of the pools that make machines of a MachineImage.
func (v *view) poolsFrom(image string) []string {
	var names []string
	for _, name := range v.poolNames() {
		if p := v.pool(name); p != nil && p.Spec.ImageFrom != nil && p.Spec.ImageFrom.Name == image {
			names = append(names, name)
		}
	}
	return names
}

// imageCondition says whether there is an image, on pools that have one built.
func (h *herald) imageCondition(p *v1alpha1.MachinePool, set func(name string, ok bool, reason, message string)) (why string) {
	image, why := h.view.imageOf(p)
	p.Status.Image = image
	switch {
	case p.Spec.ImageFrom == nil:
		meta.RemoveStatusCondition(&p.Status.Conditions, v1alpha1.PoolImageReady)
	case why != "":
		set(v1alpha1.PoolImageReady, false, reasonNoImage, why)
	default:
		set(v1alpha1.PoolImageReady, true, "Built", "")
	}
	return why
}
