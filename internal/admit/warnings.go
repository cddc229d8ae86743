package admit

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"outrigger.dev/outrigger/api/v1alpha1"
)

// Warnings are what the user should know of a Pod that Mutate rewrote and let pass.
func Warnings(pod *corev1.Pod) []string {
	var out problems // as many as fit
	asked, err := strconv.Atoi(pod.Annotations[v1alpha1.AnnotationPriority])
	if claim := requested(pod); err == nil && asked > int(claim.Priority) {
		out.add("%s: %d counts as %d: pool %s has no maxPriority, so nobody goes before others", v1alpha1.AnnotationPriority, asked,
			claim.Priority, claim.Pool)
	}
	for i := range pod.Spec.Containers {
		c := &pod.Spec.Containers[i]
		if !slices.ContainsFunc(c.Env, isPlan) {
			continue
		}
		for _, p := range c.Ports {
			if !isTCP(p) {
				out.add("container %s: port %d/%s is not forwarded to the machine: only TCP is (%s)", c.Name, p.ContainerPort, p.Protocol, v1alpha1.AnnotationPool)
			}
		}
		if only := ofTheRelay(pod.Spec.SecurityContext, c.SecurityContext); len(only) > 0 {
			out.add("container %s: its securityContext is its relay's; on the machine the command runs as the machine's user, without %s (%s)",
				c.Name, strings.Join(only, ", "), v1alpha1.AnnotationPool)
		}
	}
	return out.texts
}

// requested is what Mutate wrote of the claim.
func requested(pod *corev1.Pod) (spec v1alpha1.MachineClaimSpec) {
	if json.Unmarshal([]byte(pod.Annotations[v1alpha1.AnnotationRequest]), &spec) != nil {
		return v1alpha1.MachineClaimSpec{} // not Mutate's
	}
	return spec
}

// ofTheRelay names what of a security context somebody could take for a protection of the machine.
func ofTheRelay(pod *corev1.PodSecurityContext, c *corev1.SecurityContext) []string {
	if pod == nil {
		pod = &corev1.PodSecurityContext{}
	}
	if c == nil {
		c = &corev1.SecurityContext{}
	}
	var out []string
	for _, x := range []struct {
		name string
		set  bool
	}{
		{"runAsUser", uid(pod, c) > 0 && uid(pod, c) != nobody}, // that one is ours as a rule
		{"runAsGroup", c.RunAsGroup != nil || pod.RunAsGroup != nil},
		{"supplementalGroups", len(pod.SupplementalGroups) > 0},
		{"readOnlyRootFilesystem", c.ReadOnlyRootFilesystem != nil && *c.ReadOnlyRootFilesystem},
		{"appArmorProfile", c.AppArmorProfile != nil || pod.AppArmorProfile != nil},
		{"seLinuxOptions", c.SELinuxOptions != nil || pod.SELinuxOptions != nil},
		{"seccompProfile", isLocal(c.SeccompProfile) || isLocal(pod.SeccompProfile)}, // others are ours as a rule
	} {
		if x.set {
			out = append(out, x.name)
		}
	}
	return out
}

func isLocal(p *corev1.SeccompProfile) bool {
	return p != nil && p.Type == corev1.SeccompProfileTypeLocalhost
}
