package admit

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
)

// nobody is whom a relay runs as if it must not be root and nobody says who it
// is: its image has no user of its own, unlike the one that it replaces.
const nobody = 65532

// capabilities may be added in Pods of the baseline profile: they are what
// container runtimes give to root by default.
var capabilities = []corev1.Capability{
	"AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD",
	"NET_BIND_SERVICE", "SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT",
}

// secure takes away what the command may have needed and its relay does not. Who
// it runs as stays: a container of root has to write volumes that belong to root.
func (r *rewrite) secure(c *relayed) {
	s := c.SecurityContext
	if s == nil {
		s = &corev1.SecurityContext{}
		c.SecurityContext = s
	}
	pod := r.Spec.SecurityContext
	if pod == nil {
		pod = &corev1.PodSecurityContext{}
	}
	s.Privileged, s.ProcMount, s.WindowsOptions = nil, nil, nil
	s.AllowPrivilegeEscalation = new(false)

	seccomp := s.SeccompProfile
	if seccomp == nil {
		seccomp = pod.SeccompProfile
	}
	if seccomp == nil || seccomp.Type == corev1.SeccompProfileTypeUnconfined {
		s.SeccompProfile = &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault}
	}

	user, nonRoot := s.RunAsUser, s.RunAsNonRoot
	if user == nil {
		user = pod.RunAsUser
	}
	if nonRoot == nil {
		nonRoot = pod.RunAsNonRoot
	}
	if user == nil && nonRoot != nil && *nonRoot {
		s.RunAsUser = new(int64(nobody))
		user = s.RunAsUser
	}
	allowed := capabilities
	if user != nil && *user != 0 {
		allowed = []corev1.Capability{"NET_BIND_SERVICE"} // for ports below 1024; the restricted profile allows it
		if s.Capabilities == nil {
			s.Capabilities = &corev1.Capabilities{}
		}
		s.Capabilities.Drop = []corev1.Capability{"ALL"}
	}
	if s.Capabilities != nil {
		s.Capabilities.Add = slices.DeleteFunc(s.Capabilities.Add, func(c corev1.Capability) bool { return !slices.Contains(allowed, c) })
	}
}
