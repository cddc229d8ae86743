package podrelay

import (
	"maps"
	"regexp"
	"slices"
	"strings"

	"outrigger.dev/outrigger/internal/handoff"
)

// runtimes are variables that the relay's own container has from its image, the
// container runtime or a shell. Declared ones go along all the same.
var runtimes = []string{"PATH", "HOME", "HOSTNAME", "TERM", "PWD", "OLDPWD", "SHLVL", "_", "USER", "LOGNAME", "SHELL", "SSL_CERT_FILE"}

// environ returns what the command gets of the relay's environment: what the
// container declares, by name, or with envFrom all but what it has not from there.
func environ(plan handoff.Plan, environ []string) []string {
	have := map[string]string{}
	for _, kv := range environ {
		if name, value, ok := strings.Cut(kv, "="); ok {
			have[name] = value
		}
	}
	want := map[string]bool{}
	for _, name := range plan.Env {
		want[name] = true
	}
	if plan.EnvFrom {
		services := serviceLinks(have)
		for name := range have {
			if !slices.Contains(runtimes, name) && !strings.HasPrefix(name, "KUBERNETES_") && !services(name) {
				want[name] = true
			}
		}
	}
	var env []string
	for _, name := range slices.Sorted(maps.Keys(want)) {
		if value, ok := have[name]; ok && !strings.HasPrefix(name, "OUTRIGGER_") {
			env = append(env, name+"="+value)
		}
	}
	return env
}

// linkSuffix is what follows a Service's name in the variables that the kubelet
// makes for it.
var linkSuffix = regexp.MustCompile(`^(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|PORT|PORT_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)$`)

// serviceLinks tells which of the variables the kubelet made for Services.
func serviceLinks(have map[string]string) func(name string) bool {
	var services []string
	for name := range have {
		if service, ok := strings.CutSuffix(name, "_SERVICE_HOST"); ok && have[service+"_SERVICE_PORT"] != "" {
			services = append(services, service+"_")
		}
	}
	return func(name string) bool {
		return slices.ContainsFunc(services, func(service string) bool {
			rest, ok := strings.CutPrefix(name, service)
			return ok && linkSuffix.MatchString(rest)
		})
	}
}
