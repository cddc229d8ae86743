package podrelay

import (
	"maps"
	"regexp"
	"slices"
	"strings"

	"outrigger.dev/outrigger/internal/handoff"
)

// runtimes are variables that a container has from its image, the container runtime or a shell.
var runtimes = []string{"PATH", "HOME", "HOSTNAME", "TERM", "PWD", "OLDPWD", "SHLVL", "_", "USER", "LOGNAME", "SHELL", "SSL_CERT_FILE"}

// environ returns what the command gets of the relay's environment: what the container declares, by
// name, and what comes from its envFrom. Of both the former counts, as on a node.
func environ(plan handoff.Plan, environ []string) []string {
	have, want := map[string]string{}, map[string]string{}
	for _, kv := range environ {
		name, value, ok := strings.Cut(kv, "=")
		if !ok {
			continue
		}
		have[name] = value
	}
	for name, value := range have {
		from, ok := strings.CutPrefix(name, handoff.FromPrefix)
		if _, twice := have[handoff.FromPrefix+name]; ok && !twice && !plan.AllEnv && !slices.Contains(plan.Env, name) {
			want[from] = value
		} // else somebody has called a variable so
	}
	if plan.AllEnv {
		services := serviceLinks(have)
		for name, value := range have {
			if !slices.Contains(runtimes, name) && !strings.HasPrefix(name, "KUBERNETES_") &&
				!strings.HasPrefix(name, "OUTRIGGER_") && !services(name) {
				want[name] = value
			}
		}
	}
	for _, name := range plan.Env {
		if value, ok := have[name]; ok && name != handoff.PlanVariable {
			want[name] = value
		}
	}
	var env []string
	for _, name := range slices.Sorted(maps.Keys(want)) {
		env = append(env, name+"="+want[name])
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
