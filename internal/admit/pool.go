package admit

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"

	"outrigger.dev/outrigger/api/v1alpha1"
)

// A wish is what the node selector says of the machine.
type wish struct {
	os, arch string // "": any
	labels   map[string]string
}

func (r *rewrite) wish() wish {
	w := wish{labels: map[string]string{}}
	for key, value := range r.Spec.NodeSelector {
		if strings.HasPrefix(key, ours) {
			w.labels[key] = value
		}
	}
	// Linux nodes exist, and these say which one the Pod wants.
	if os := r.Spec.NodeSelector[corev1.LabelOSStable]; os != linux && os != "" {
		w.os, w.arch = os, r.Spec.NodeSelector[corev1.LabelArchStable]
	}
	return w
}

// refusal says what of the wish the pool does not grant, or "".
func (w wish) refusal(p Pool) string {
	switch {
	case w.os != "" && w.os != p.OS:
		return fmt.Sprintf("nodeSelector %s wants %s, and the machines of pool %s are %s/%s", corev1.LabelOSStable, quote(w.os), p.Name, p.OS, p.Arch)
	case w.arch != "" && w.arch != p.Arch:
		return fmt.Sprintf("nodeSelector %s wants %s, and the machines of pool %s are %s/%s", corev1.LabelArchStable, quote(w.arch), p.Name, p.OS, p.Arch)
	}
	for _, key := range slices.Sorted(maps.Keys(w.labels)) {
		if got, ok := p.Labels[key]; !ok || got != w.labels[key] {
			return fmt.Sprintf("nodeSelector wants %s=%s, which pool %s does not have", key, quote(w.labels[key]), p.Name)
		}
	}
	return ""
}

func (w wish) String() string {
	s := w.os
	if w.arch != "" {
		s += "/" + w.arch
	}
	for _, key := range slices.Sorted(maps.Keys(w.labels)) {
		s += fmt.Sprintf(", %s=%s", key, w.labels[key])
	}
	return s
}

// choosePool finds the pool that is named, or the first that has what is wished for.
func (r *rewrite) choosePool(pools []Pool) {
	n := len(r.problems.texts)
	defer func() { r.poolProblem = len(r.problems.texts) > n }()
	pools = slices.SortedFunc(slices.Values(pools), func(a, b Pool) int { return strings.Compare(a.Name, b.Name) })
	here := slices.DeleteFunc(slices.Clone(pools), func(p Pool) bool { return !p.allows(r.ns.Namespace) })
	w := r.wish()
	if name, ok := r.Annotations[v1alpha1.AnnotationPool]; ok {
		r.namedPool(name, pools, here)
		if why := w.refusal(r.pool); r.pool.Name != "" && why != "" {
			r.problems.add("%s", why)
		}
		return
	}
	if w.os == "" {
		r.notMarked()
		return
	}
	for _, p := range here {
		if w.refusal(p) == "" {
			r.pool = p
			return
		}
	}
	r.problems.add("nodeSelector: no pool that namespace %s may use has machines of %s; it may use %s", r.ns.Name, w, described(here))
}

func (r *rewrite) namedPool(name string, pools, here []Pool) {
	called := func(p Pool) bool { return p.Name == name }
	if i := slices.IndexFunc(here, called); i >= 0 {
		r.pool = here[i]
		return
	}
	names := make([]string, len(here))
	for i, p := range here {
		names[i] = p.Name
	}
	switch near, ok := nearest(name, names); {
	case slices.ContainsFunc(pools, called):
		r.problems.add("%s: pool %s may not be used in namespace %s, which may use %s", v1alpha1.AnnotationPool, quote(name), r.ns.Name, described(here))
	case ok:
		r.problems.add("%s: there is no pool %s, did you mean %s?", v1alpha1.AnnotationPool, quote(name), near)
	default:
		r.problems.add("%s: there is no pool %s; namespace %s may use %s", v1alpha1.AnnotationPool, quote(name), r.ns.Name, described(here))
	}
}

// notMarked says what is wrong with a Pod that asks for no pool and has a mark
// that only Outrigger makes. One with an annotation that does not exist hears of that.
func (r *rewrite) notMarked() {
	if _, ok := r.Labels[v1alpha1.LabelClaim]; ok {
		r.problems.add("label %s: is for Outrigger to set; name a pool with the annotation %s", v1alpha1.LabelClaim, v1alpha1.AnnotationPool)
	}
	for _, key := range written {
		if _, ok := r.Annotations[key]; ok {
			r.problems.add("annotation %s: is for Outrigger to write; name a pool with the annotation %s", key, v1alpha1.AnnotationPool)
		}
	}
}

// served is the priority that counts of one that was asked for.
func (p Pool) served(asked int32) int32 {
	if p.MaxPriority == nil {
		return min(asked, 0)
	}
	return asked // more is refused
}

func (p Pool) allows(ns *corev1.Namespace) bool {
	return p.Namespaces == nil || p.Namespaces.Matches(labels.Set(ns.Labels))
}

// described lists pools with what can be asked of them.
func described(pools []Pool) string {
	if len(pools) == 0 {
		return "no pool"
	}
	const most = 20
	var all []string
	for i, p := range pools {
		if i == most {
			all = append(all, fmt.Sprintf("and %d more", len(pools)-most))
			break
		}
		w := wish{p.OS, p.Arch, map[string]string{}}
		for key, value := range p.Labels {
			if strings.HasPrefix(key, ours) {
				w.labels[key] = value
			}
		}
		all = append(all, fmt.Sprintf("%s (%s)", p.Name, w))
	}
	return strings.Join(all, ", ")
}
