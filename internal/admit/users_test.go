package admit_test

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"outrigger.dev/outrigger/internal/admit"
)

// TestNobodyBecomesRoot: a container that must not be root is not where its command would be.
func TestNobodyBecomesRoot(t *testing.T) {
	for _, tt := range []struct{ name, pod, container, want string }{
		{"says nothing", "{}", "{}", ""},
		{"is root anyway", "{runAsUser: 0}", "{runAsUser: 0, runAsNonRoot: false}", ""},
		{"must not be", "{}", "{runAsNonRoot: true}", "container main must not run as root (runAsNonRoot), and on the machines of pool box it would"},
		{"must not be, as all of the Pod", "{runAsNonRoot: true}", "{}", "(runAsNonRoot)"},
		{"may be although the Pod says no", "{runAsNonRoot: true}", "{runAsNonRoot: false}", ""},
		{"is somebody", "{}", "{runAsUser: 1000}", "container main must not run as root (runAsUser 1000)"},
		{"is somebody, as all of the Pod", "{runAsUser: 7}", "{}", "(runAsUser 7)"},
		{"is root although the Pod is not", "{runAsUser: 7}", "{runAsUser: 0}", ""},
		{"what restricted asks for", "{}", "{runAsNonRoot: true, runAsUser: 1000, allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}", "(runAsNonRoot)"},
	} {
		pod := parse(t, strings.NewReplacer("POD", tt.pod, "CONTAINER", tt.container).Replace(`
metadata: {name: p, annotations: {outrigger.dev/pool: box, outrigger.dev/containers: main}}
spec:
  securityContext: POD
  containers:
    - {name: main, image: a, command: [a], securityContext: CONTAINER}
    - {name: stays, image: a, securityContext: {runAsNonRoot: true}}
`))
		for _, root := range []bool{true, false} {
			ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "ns"}}
			_, err := admit.Mutate(t.Context().Err, pod, admit.Namespace{Namespace: ns}, []admit.Pool{{Name: "box", OS: "linux", Arch: "amd64", Root: root}},
				admit.Config{RelayImage: "r"}, func() string { return "abcde" })
			switch {
			case !root || tt.want == "":
				if err != nil {
					t.Errorf("%s, root %t: %v", tt.name, root, err)
				}
			case err == nil || !strings.Contains(err.Error(), tt.want):
				t.Errorf("%s: %v, want: %s", tt.name, err, tt.want)
			}
		}
	}
}

// TestWarningsOfSecurityContexts: what somebody could take for a protection of the machine is named.
func TestWarningsOfSecurityContexts(t *testing.T) {
	for context, want := range map[string]string{
		"{}":                                  "",
		"{runAsNonRoot: true}":                "",
		"{capabilities: {drop: [ALL]}}":       "",
		"{readOnlyRootFilesystem: true}":      "readOnlyRootFilesystem",
		"{runAsUser: 1000, runAsGroup: 1000}": "runAsUser, runAsGroup",
		"{appArmorProfile: {type: RuntimeDefault}, seLinuxOptions: {level: s0}}":                        "appArmorProfile, seLinuxOptions",
		"{seccompProfile: {type: Localhost, localhostProfile: x}}":                                      "seccompProfile",
		"{seccompProfile: {type: RuntimeDefault}, allowPrivilegeEscalation: false, runAsNonRoot: true}": "",
	} {
		out, err := mutate(parse(t, `
metadata: {name: p, annotations: {outrigger.dev/pool: xcode}}
spec: {containers: [{name: a, image: a, command: [a], securityContext: `+context+`}]}`))
		if err != nil {
			t.Fatal(err)
		}
		got := strings.Join(admit.Warnings(out), "; ")
		if want == "" && got != "" || !strings.Contains(got, want) {
			t.Errorf("%s: %q, want %q", context, got, want)
		}
	}
}
