package podrelay

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"outrigger.dev/outrigger/internal/handoff"
)

func TestEnviron(t *testing.T) {
	have := []string{
		"PATH=/bin", "HOME=/root", "HOSTNAME=pod", "TERM=xterm", "EMPTY=", "A=1", "B=x=y\nz", "OUTRIGGER_PLAN={}", "OUTRIGGER_DEBUG=1",
		"KUBERNETES_SERVICE_HOST=10.0.0.1", "KUBERNETES_PORT=tcp://10.0.0.1:443",
		"DB_SERVICE_HOST=10.0.0.2", "DB_SERVICE_PORT=5432", "DB_SERVICE_PORT_PG=5432", "DB_PORT=tcp://10.0.0.2:5432",
		"DB_PORT_5432_TCP=tcp://10.0.0.2:5432", "DB_PORT_5432_TCP_ADDR=10.0.0.2", "DB_PASSWORD=secret", "WEB_PORT=8080",
	}
	for _, tt := range []struct {
		name string
		plan handoff.Plan
		want []string
	}{
		{"nothing is declared", handoff.Plan{}, nil},
		{"what is declared and there", handoff.Plan{Env: []string{"B", "A", "EMPTY", "MISSING"}}, []string{"A=1", "B=x=y\nz", "EMPTY="}},
		{"what the runtime sets too, if it is declared", handoff.Plan{Env: []string{"PATH", "HOME", "KUBERNETES_PORT"}},
			[]string{"HOME=/root", "KUBERNETES_PORT=tcp://10.0.0.1:443", "PATH=/bin"}},
		{"never the plan, and all else that is declared", handoff.Plan{Env: []string{"OUTRIGGER_PLAN", "OUTRIGGER_DEBUG", "HOSTNAME", "DB_SERVICE_HOST"}},
			[]string{"DB_SERVICE_HOST=10.0.0.2", "HOSTNAME=pod", "OUTRIGGER_DEBUG=1"}},
		{"nobody knows what is declared", handoff.Plan{AllEnv: true},
			[]string{"A=1", "B=x=y\nz", "DB_PASSWORD=secret", "EMPTY=", "WEB_PORT=8080"}},
		{"so, and a declared one beside it", handoff.Plan{Env: []string{"DB_PORT"}, AllEnv: true},
			[]string{"A=1", "B=x=y\nz", "DB_PASSWORD=secret", "DB_PORT=tcp://10.0.0.2:5432", "EMPTY=", "WEB_PORT=8080"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, environ(tt.plan, have)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// TestEnvironOfEnvFrom: where a variable came from is not guessed by its name.
func TestEnvironOfEnvFrom(t *testing.T) {
	names := []string{
		"TERM", "HOME", "USER", "LOGNAME", "SHELL", "PATH", "HOSTNAME", "PWD", "_", "SSL_CERT_FILE", "KUBERNETES_NAMESPACE", "KUBERNETES_SERVICE_HOST",
		"DB_PORT", "DB_SERVICE_HOST", "DB_SERVICE_PORT", "DB_PORT_5432_TCP_ADDR", "OUTRIGGER_HOME", "OUTRIGGER_PLAN", "OUTRIGGER_FROM_X", "my.key", "with-dash",
	}
	var have, want []string
	for _, name := range names {
		have = append(have, name+"=the Pod's", handoff.FromPrefix+name+"=declared")
		want = append(want, name+"=declared")
	}
	slices.Sort(want)
	if diff := cmp.Diff(want, environ(handoff.Plan{}, have)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	// What the container declares itself is not replaced.
	got := environ(handoff.Plan{Env: []string{"HOME"}}, []string{"HOME=by name", handoff.FromPrefix + "HOME=from elsewhere"})
	if diff := cmp.Diff([]string{"HOME=by name"}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
