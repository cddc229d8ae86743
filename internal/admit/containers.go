package admit

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"outrigger.dev/outrigger/api/v1alpha1"
)

// What Tekton calls the containers of a TaskRun's Pod (pkg/pod/entrypoint.go of Tekton v1.12.0).
const (
	stepPrefix    = "step-"
	sidecarPrefix = "sidecar-"
)

// choose finds the containers that run on the machine, as they were before.
func (r *rewrite) choose() {
	if r.before.wrapped != nil {
		// What other webhooks added since the first call is theirs and stays on Linux.
		r.relay(func(c corev1.Container) bool { return r.before.wrapped[c.Name] })
		return
	}
	byDefault := func(corev1.Container) bool { return true }
	if r.isTekton() {
		byDefault = isStep
	}
	value, given := r.Annotations[v1alpha1.AnnotationContainers]
	if !given {
		r.relay(byDefault)
		return
	}
	with, without := map[string]bool{}, map[string]bool{}
	all, some := false, false
	asked := map[string]bool{}
	n := len(r.problems.texts)
	for item := range strings.FieldsFuncSeq(value, func(c rune) bool { return strings.ContainsRune(", \t\n", c) }) {
		name, not := strings.CutPrefix(item, "!")
		if asked[item] || r.problems.full() {
			continue
		}
		asked[item] = true
		if name == "*" && !not {
			all, some = true, true
			continue
		}
		found, problem := r.find(name)
		switch {
		case problem != "":
			r.problems.add("%s: %s", v1alpha1.AnnotationContainers, problem)
		case not:
			without[found] = true
		default:
			with[found], some = true, true
		}
	}
	n = len(r.problems.texts) - n
	r.relay(func(c corev1.Container) bool {
		chosen := with[c.Name] || (all || !some) && byDefault(c)
		return chosen && !without[c.Name]
	})
	if len(r.relayed) == 0 && n == 0 {
		r.problems.add("%s: %s leaves no container to run on the machine; to run the whole Pod on Linux, take the mark %s away",
			v1alpha1.AnnotationContainers, quote(value), v1alpha1.AnnotationPool)
	}
}

// find returns the container that is meant by a name, or what is wrong with it.
func (r *rewrite) find(name string) (found, problem string) {
	var known []string
	is := func(n string) bool { return n == name || r.isTekton() && n == stepPrefix+name }
	for _, c := range r.Spec.Containers {
		switch {
		case r.isTekton() && !isStep(c):
			if c.Name == name || c.Name == sidecarPrefix+name {
				return "", fmt.Sprintf("%s is a sidecar, and those stay on Linux", quote(name))
			}
			continue
		case is(c.Name):
			return c.Name, ""
		}
		known = append(known, strings.TrimPrefix(c.Name, stepPrefix))
	}
	for _, c := range r.Spec.InitContainers {
		if c.Name == name || r.isTekton() && c.Name == sidecarPrefix+name {
			if isNativeSidecar(c) {
				return "", fmt.Sprintf("%s is a sidecar, and those stay on Linux", quote(name))
			}
			return "", fmt.Sprintf("%s is an init container, and those stay on Linux", quote(name))
		}
	}
	if near, ok := nearest(name, known); ok {
		return "", fmt.Sprintf("the Pod has no container %s, did you mean %s?", quote(name), near)
	}
	return "", fmt.Sprintf("the Pod has no container %s, want * or %s", quote(name), oneOf(known))
}

func isNativeSidecar(c corev1.Container) bool {
	return c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways
}

// relay makes the chosen containers relayed ones, if they can be.
func (r *rewrite) relay(chosen func(corev1.Container) bool) {
	for i := range r.Spec.Containers {
		c := &r.Spec.Containers[i]
		if !chosen(*c) {
			continue
		}
		if problem := unfit(*c); problem != "" {
			r.problems.add("%s", problem)
			continue
		}
		r.relayed = append(r.relayed, &relayed{Container: c, tekton: isStep(*c), again: r.before.wrapped[c.Name]})
	}
	if r.isTekton() {
		r.windowsScripts()
	}
}

// unfit says why a container's command cannot run on a machine, or "".
func unfit(c corev1.Container) string {
	const missing = "the ENTRYPOINT of its image is not on the machine"
	if isStep(c) {
		if _, _, ok := splitStep(c.Args); ok {
			return ""
		}
		name := strings.TrimPrefix(c.Name, stepPrefix)
		return fmt.Sprintf("step %s has neither script nor command, and %s: give it one, or leave it on Linux with %s: %q",
			name, missing, v1alpha1.AnnotationContainers, "!"+name)
	}
	if len(c.Command) > 0 {
		return ""
	}
	return fmt.Sprintf("container %s has no command, and %s (%s): give it a command, or leave it on Linux with %s: %q",
		c.Name, missing, quote(c.Image), v1alpha1.AnnotationContainers, "!"+c.Name)
}

// windowsScripts refuses scripts that begin with #!win: Tekton has them put in
// place by a container that only a Windows node can run.
func (r *rewrite) windowsScripts() {
	for _, c := range r.Spec.InitContainers {
		if c.Name == "place-scripts" && len(c.Command) > 0 && c.Command[0] == "pwsh" {
			r.problems.add("a script begins with #!win, which needs a Windows node: begin it with #!/usr/bin/env pwsh, or give the step a command")
		}
	}
}
