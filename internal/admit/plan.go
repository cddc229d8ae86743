package admit

import (
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"outrigger.dev/outrigger/api/v1alpha1"
	"outrigger.dev/outrigger/internal/handoff"
)

// margin is what remains of the Pod's grace period for the files to come back. A guess.
const margin = 5 * time.Second

// plan makes what each relay is told.
func (r *rewrite) plan(over func() error) {
	if r.problems.any() {
		return
	}
	if r.before.wrapped == nil && slices.ContainsFunc(r.Spec.Volumes, func(v corev1.Volume) bool { return isOurVolume(v.Name) }) {
		r.problems.add("volumes %s and %s are Outrigger's own: call yours something else", handoff.VolumeClaim, handoff.VolumeState)
	}
	if r.Spec.NodeName != "" {
		r.problems.add("spec.nodeName is set, and a Pod that waits for a machine is scheduled afterwards: leave it empty")
	}
	r.users()
	serving := r.serving()
	for _, f := range r.set.services {
		if c := serving[f.Port]; c != "" {
			r.problems.add("%s: port %d of the machine is what container %s serves there: want LOCALPORT=%s with another LOCALPORT", v1alpha1.AnnotationServices, f.Port, c, f.To)
		}
	}
	forwards := r.forwards(serving)
	for _, c := range r.relayed {
		c.plan = handoff.Plan{
			Version: handoff.Version, Container: c.Name,
			Env:     declared(c.Env),
			WorkDir: c.WorkingDir, TTY: c.TTY, Stdin: c.Stdin,
			Ports: ports(c.Container), Network: r.set.network, Forwards: forwards,
			TerminationLog: c.terminationLog(), Tekton: c.tekton, Grace: r.grace(),
		}
	}
	r.views(over)
	r.tell()
}

// tell writes the plans out, as far as they fit.
func (r *rewrite) tell() {
	room := maxPlans
	for _, c := range r.relayed {
		// Every "$" is doubled, since the kubelet would replace $(NAME) and halve "$$".
		c.told = strings.ReplaceAll(encode(c.plan), "$", "$$")
		room -= len(c.told)
		if len(c.told) > maxPlan || room < 0 {
			r.problems.add("container %s: what its relay is to be told (variables, ports, mounts, excludes) has %d bytes,"+
				" want at most %d, and %d for all containers: declare less", c.Name, len(c.told), maxPlan, maxPlans)
			return
		}
	}
}

// declared are the names of the container's variables, in their order.
func declared(env []corev1.EnvVar) []string {
	var names []string
	seen := map[string]bool{}
	for _, e := range env {
		if !seen[e.Name] {
			seen[e.Name] = true
			names = append(names, e.Name)
		}
	}
	return names
}

func (c *relayed) terminationLog() string {
	switch {
	case c.tekton:
		return ""
	case c.TerminationMessagePath == "":
		return corev1.TerminationMessagePathDefault
	}
	return c.TerminationMessagePath
}

func (r *rewrite) grace() time.Duration {
	grace := corev1.DefaultTerminationGracePeriodSeconds * time.Second
	if s := r.Spec.TerminationGracePeriodSeconds; s != nil {
		grace = time.Duration(*s) * time.Second
	}
	return max(grace-margin, grace/2, time.Second)
}

// ports are those that the command serves: declared, or asked by a probe or a hook.
func ports(c *corev1.Container) []handoff.Port {
	var out []handoff.Port
	seen := map[int32]bool{}
	add := func(port int32, name string) {
		if port > 0 && !seen[port] {
			seen[port] = true
			out = append(out, handoff.Port{Port: int(port), Name: name})
		}
	}
	for _, p := range c.Ports {
		if isTCP(p) {
			add(p.ContainerPort, p.Name)
		}
	}
	for _, p := range []*corev1.Probe{c.LivenessProbe, c.ReadinessProbe, c.StartupProbe} {
		switch {
		case p == nil:
		case p.HTTPGet != nil && p.HTTPGet.Host == "":
			add(p.HTTPGet.Port.IntVal, "")
		case p.TCPSocket != nil && p.TCPSocket.Host == "":
			add(p.TCPSocket.Port.IntVal, "")
		case p.GRPC != nil:
			add(p.GRPC.Port, "")
		}
	}
	if l := c.Lifecycle; l != nil {
		for _, h := range []*corev1.LifecycleHandler{l.PostStart, l.PreStop} {
			if h != nil && h.HTTPGet != nil && h.HTTPGet.Host == "" {
				add(h.HTTPGet.Port.IntVal, "")
			}
		}
	}
	return out
}

// serving names for each port of the machine the relayed container that serves it.
func (r *rewrite) serving() map[int]string {
	all := map[int]string{}
	for _, c := range r.relayed {
		for _, p := range ports(c.Container) {
			if _, taken := all[p.Port]; !taken {
				all[p.Port] = c.Name
			}
		}
	}
	return all
}

func isTCP(p corev1.ContainerPort) bool { return p.Protocol == corev1.ProtocolTCP || p.Protocol == "" }

// forwards lead from the machine's loopback to the Services that are named and, in
// the cluster's network, to what containers of the Pod serve that stay on Linux.
func (r *rewrite) forwards(serving map[int]string) []handoff.Forward {
	out := slices.Clone(r.set.services)
	if r.set.network != networkCluster {
		return out
	}
	stay := slices.DeleteFunc(slices.Clone(r.Spec.InitContainers), func(c corev1.Container) bool { return !isNativeSidecar(c) })
	for _, c := range r.Spec.Containers {
		if !slices.ContainsFunc(r.relayed, func(o *relayed) bool { return o.Name == c.Name }) {
			stay = append(stay, c)
		}
	}
	taken := map[int]bool{}
	for _, f := range out {
		taken[f.Port] = true
	}
	for _, c := range stay {
		for _, p := range c.Ports {
			// As in any Pod, of two containers that listen on one port only one can have it.
			port := int(p.ContainerPort)
			if isTCP(p) && !taken[port] && serving[port] == "" {
				taken[port] = true
				out = append(out, handoff.Forward{Port: int(p.ContainerPort), To: loopback(p.ContainerPort)})
			}
		}
	}
	return out
}
