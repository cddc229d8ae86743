package admit

import (
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// osTaints are the keys of taints that say what system a node has.
var osTaints = []string{corev1.LabelOSStable, "node.kubernetes.io/os", "beta.kubernetes.io/os", "os"}

// onLinux makes the Pod one that only Linux nodes can have, wherever else it
// wanted to go: what was said of the machine is not asked of the node.
func (r *rewrite) onLinux() {
	machines := r.wish().os != "" // else the architecture, if one is wanted, is the node's
	selector := map[string]string{}
	for key, value := range r.Spec.NodeSelector {
		if !ofMachine(key, machines) {
			selector[key] = value
		}
	}
	selector[corev1.LabelOSStable] = linux
	r.Spec.NodeSelector = selector
	r.Spec.Tolerations = slices.DeleteFunc(r.Spec.Tolerations, func(t corev1.Toleration) bool {
		return slices.Contains(osTaints, t.Key) && t.Value != linux || strings.HasPrefix(t.Key, ours)
	})
	r.affinity(machines)
	if r.Spec.OS != nil && r.Spec.OS.Name != corev1.Linux {
		r.Spec.OS = &corev1.PodOS{Name: corev1.Linux}
		r.noWindows()
	}
}

// noWindows takes away what only Pods of Windows nodes may say.
func (r *rewrite) noWindows() {
	if s := r.Spec.SecurityContext; s != nil {
		s.WindowsOptions = nil
	}
	for _, containers := range [][]corev1.Container{r.Spec.InitContainers, r.Spec.Containers} {
		for _, c := range containers {
			if c.SecurityContext != nil {
				c.SecurityContext.WindowsOptions = nil
			}
		}
	}
}

func ofMachine(label string, machines bool) bool {
	switch label {
	case corev1.LabelOSStable:
		return true
	case corev1.LabelArchStable:
		return machines
	}
	return strings.HasPrefix(label, ours)
}

// affinity takes the machine's system out of what the node must have. A term
// that is left with nothing is fulfilled by any node, and so are all: one is enough.
func (r *rewrite) affinity(machines bool) {
	if r.Spec.Affinity == nil || r.Spec.Affinity.NodeAffinity == nil {
		return
	}
	node := r.Spec.Affinity.NodeAffinity
	required := node.RequiredDuringSchedulingIgnoredDuringExecution
	if required == nil {
		return
	}
	for i := range required.NodeSelectorTerms {
		term := &required.NodeSelectorTerms[i]
		n := len(term.MatchExpressions)
		term.MatchExpressions = slices.DeleteFunc(term.MatchExpressions, func(e corev1.NodeSelectorRequirement) bool {
			return ofMachine(e.Key, machines)
		})
		if n > 0 && len(term.MatchExpressions)+len(term.MatchFields) == 0 {
			node.RequiredDuringSchedulingIgnoredDuringExecution = nil
			return
		}
	}
}

// claimBase is the Pod's name made fit to be the beginning of a DNS label that
// goes on with "-" and so many characters.
func claimBase(meta metav1.ObjectMeta, suffix int) string {
	name := meta.Name
	if name == "" {
		name = meta.GenerateName
	}
	name = strings.ReplaceAll(name, ".", "-")
	if most := 63 - 1 - suffix; len(name) > most {
		name = name[:max(most, 0)]
	}
	if name = strings.Trim(name, "-"); name == "" {
		return "pod"
	}
	return name
}

func loopback(port int32) string { return "127.0.0.1:" + strconv.Itoa(int(port)) }
