package admit

import (
	"fmt"
	"path"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// What a Pod may have at most. The API server asks us before it has checked
// anything itself, and everybody who may create Pods can have it ask: so these are
// looked at before anything else is, and all later work is linear in them.
// They are guesses at what no Pod of a person needs.
const (
	maxContainers   = 128      // of both kinds
	maxVolumes      = 1024     //
	maxMounts       = 512      // of one container; a step of Tekton has one for each other step
	maxAllMounts    = 8192     // of all containers
	maxVariables    = 2048     // of one container, and sources of them
	maxAllVariables = 8192     // of all containers
	maxFields       = 512      // files of the downward API
	maxPorts        = 1024     // of all containers
	maxPlacement    = 256      // entries of the node selector, tolerations, terms of the node affinity, gates
	maxAnnotations  = 256      // that begin with outrigger.dev/
	maxValue        = 16 << 10 // bytes of one of those
	maxExcludes     = 512      // patterns
	maxServices     = 128      //
	maxName         = 253      // bytes, as of anything in Kubernetes
	maxPath         = 1024     // bytes of a mount path or a subPath, as macOS has it
	maxDepth        = 64       // folders in one of those
	maxImageName    = 4 << 10  // bytes
	// maxPlan and maxPlans bound what relays are told, as JSON. Linux takes no
	// variable of 128 KiB, and the API server no object of much more than 1 MiB.
	maxPlan  = 96 << 10
	maxPlans = 512 << 10
)

// limits refuses a Pod that is too large to be looked at. What it says first is all that
// it says.
func (r *rewrite) limits() {
	for _, check := range []func() string{r.metadataLimits, r.placementLimits, r.volumeLimits, r.containerLimits} {
		if problem := check(); problem != "" {
			r.problems.add("%s", problem)
			return
		}
	}
}

func (r *rewrite) metadataLimits() string {
	n := 0
	for key, value := range r.Annotations {
		if !strings.HasPrefix(key, ours) || len(key) <= maxName && isWritten(key) {
			continue
		}
		n++
		switch {
		case len(key) > maxName:
			return fmt.Sprintf("annotation %s: its name has %d bytes, want at most %d", quote(key), len(key), maxName)
		case len(value) > maxValue:
			return fmt.Sprintf("annotation %s: has %d bytes, want at most %d", key, len(value), maxValue)
		}
	}
	return atMostN("annotations that begin with "+ours, n, maxAnnotations)
}

func (r *rewrite) placementLimits() string {
	terms := 0
	if a := r.Spec.Affinity; a != nil && a.NodeAffinity != nil {
		if required := a.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution; required != nil {
			for _, t := range required.NodeSelectorTerms {
				terms += 1 + len(t.MatchExpressions) + len(t.MatchFields)
			}
		}
	}
	for _, x := range []struct {
		what string
		n    int
	}{
		{"entries of the node selector", len(r.Spec.NodeSelector)},
		{"tolerations", len(r.Spec.Tolerations)},
		{"requirements of the node affinity", terms},
		{"scheduling gates", len(r.Spec.SchedulingGates)},
	} {
		if problem := atMostN(x.what, x.n, maxPlacement); problem != "" {
			return problem
		}
	}
	return ""
}

func (r *rewrite) volumeLimits() string {
	items := 0
	for _, v := range r.Spec.Volumes {
		if len(v.Name) > maxName {
			return longName("volume", v.Name)
		}
		if v.DownwardAPI != nil {
			items += len(v.DownwardAPI.Items)
		}
		if v.Projected != nil {
			for _, s := range v.Projected.Sources {
				if s.DownwardAPI != nil {
					items += len(s.DownwardAPI.Items)
				}
			}
		}
	}
	if p := atMostN("files of the downward API", items, maxFields); p != "" {
		return p
	}
	return atMostN("volumes", len(r.Spec.Volumes), maxVolumes)
}

func (r *rewrite) containerLimits() string {
	var mounts, variables, ports int
	if p := atMostN("containers", len(r.Spec.InitContainers)+len(r.Spec.Containers), maxContainers); p != "" {
		return p
	}
	for _, list := range [][]corev1.Container{r.Spec.InitContainers, r.Spec.Containers} {
		for i := range list {
			c := &list[i]
			if problem := oneContainer(c); problem != "" {
				return problem
			}
			mounts += len(c.VolumeMounts)
			variables += len(c.Env) + len(c.EnvFrom)
			ports += len(c.Ports)
		}
	}
	for _, x := range []struct {
		what    string
		n, most int
	}{
		{"mounts", mounts, maxAllMounts}, {"variables", variables, maxAllVariables}, {"ports", ports, maxPorts},
	} {
		if problem := atMostN(x.what, x.n, x.most); problem != "" {
			return problem
		}
	}
	return ""
}

func oneContainer(c *corev1.Container) string {
	if len(c.Name) > maxName {
		return longName("container", c.Name)
	}
	if p := atMostN("mounts in container "+c.Name, len(c.VolumeMounts), maxMounts); p != "" {
		return p
	}
	if p := atMostN("variables in container "+c.Name, len(c.Env)+len(c.EnvFrom), maxVariables); p != "" {
		return p
	}
	if len(c.Image) > maxImageName {
		return fmt.Sprintf("container %s: its image's name has %d bytes, want at most %d", c.Name, len(c.Image), maxImageName)
	}
	for _, m := range c.VolumeMounts {
		for _, p := range []string{m.Name, m.MountPath, m.SubPath, m.SubPathExpr} {
			if len(p) > maxPath || strings.Count(path.Clean(p), "/") > maxDepth {
				return fmt.Sprintf("container %s: mount %s: want at most %d bytes and %d folders", c.Name, quote(p), maxPath, maxDepth)
			}
		}
	}
	for _, e := range c.Env {
		if len(e.Name) > maxPath {
			return longName("container "+c.Name+": variable", e.Name)
		}
	}
	return ""
}

func longName(what, name string) string {
	return fmt.Sprintf("%s %s: its name has %d bytes, want at most %d", what, quote(name), len(name), maxName)
}

func atMostN(what string, n, most int) string {
	if n <= most {
		return ""
	}
	return fmt.Sprintf("the Pod has %d %s, and a Pod on a machine may have %d", n, what, most)
}
