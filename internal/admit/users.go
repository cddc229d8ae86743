package admit

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
)

// users refuses containers that must not run as root and would: on the machine a command runs as the user
// that the pool has for it, whatever the Pod says. That this is another number than the
// Pod's is said by [Warnings]; that it is root is another promise broken.
func (r *rewrite) users() {
	if !r.pool.Root {
		return
	}
	pod := r.Spec.SecurityContext
	if pod == nil {
		pod = &corev1.PodSecurityContext{}
	}
	for _, c := range r.relayed {
		if why := notRoot(pod, c.SecurityContext); why != "" {
			r.problems.add("container %s must not run as root (%s), and on the machines of pool %s it would: "+
				"take a pool whose machines have another user for it, or leave the container on Linux", c.Name, why, r.pool.Name)
			r.poolProblem = true
		}
	}
}

// notRoot says why a container must not be root, or "".
func notRoot(pod *corev1.PodSecurityContext, c *corev1.SecurityContext) string {
	if c == nil {
		c = &corev1.SecurityContext{}
	}
	nonRoot := c.RunAsNonRoot
	if nonRoot == nil {
		nonRoot = pod.RunAsNonRoot
	}
	switch {
	case nonRoot != nil && *nonRoot:
		return "runAsNonRoot"
	case uid(pod, c) > 0:
		return fmt.Sprintf("runAsUser %d", uid(pod, c))
	}
	return ""
}

// uid is whom a container runs as, 0 also if nobody says so.
func uid(pod *corev1.PodSecurityContext, c *corev1.SecurityContext) int64 {
	switch {
	case c.RunAsUser != nil:
		return *c.RunAsUser
	case pod.RunAsUser != nil:
		return *pod.RunAsUser
	}
	return 0
}
