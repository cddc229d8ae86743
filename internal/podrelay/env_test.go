package podrelay

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"outrigger.dev/outrigger/internal/handoff"
)

func TestEnviron(t *testing.T) {
	have := []string{
		"PATH=/bin", "HOME=/root", "HOSTNAME=pod", "TERM=xterm", "EMPTY=", "A=1", "B=x=y\nz", "OUTRIGGER_PLAN={}",
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
		{"never what is ours", handoff.Plan{Env: []string{"OUTRIGGER_PLAN"}, EnvFrom: true},
			[]string{"A=1", "B=x=y\nz", "DB_PASSWORD=secret", "EMPTY=", "WEB_PORT=8080"}},
		{"envFrom, and a declared one beside it", handoff.Plan{Env: []string{"DB_PORT"}, EnvFrom: true},
			[]string{"A=1", "B=x=y\nz", "DB_PASSWORD=secret", "DB_PORT=tcp://10.0.0.2:5432", "EMPTY=", "WEB_PORT=8080"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, environ(tt.plan, have)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
