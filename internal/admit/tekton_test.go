package admit_test

import (
	"strings"
	"testing"

	"outrigger.dev/outrigger/internal/admit"
)

// taskPod has what makes a Pod one of Tekton's, in the least words (golden/tekton has Tekton's own).
const taskPod = `
metadata:
  name: t-pod
  annotations: {outrigger.dev/pool: xcode ANNOTATIONS}
spec:
  initContainers:
    - {name: prepare, image: entrypoint, command: [/ko-app/entrypoint, init]}
    - {name: place-scripts, image: shell, command: [PLACE], args: [-c, x]}
    - {name: sidecar-native, image: db, restartPolicy: Always}
  containers:
    - {name: step-build, image: xcode, command: [/tekton/bin/entrypoint], args: [-post_file, /tekton/run/0/out, -entrypoint, /tekton/scripts/s, --]}
    - {name: step-lint, image: lint, command: [/tekton/bin/entrypoint], args: [STEP]}
    - {name: sidecar-db, image: db}
  volumes:
    - {name: ws-1, emptyDir: {}}
`

func task(annotations string, replace ...string) string {
	all := append(replace, "ANNOTATIONS", annotations, "PLACE", "sh", "STEP", "-entrypoint, lint, --, -q")
	return strings.NewReplacer(all...).Replace(taskPod)
}

func TestTasksThatAreDenied(t *testing.T) {
	for _, tt := range []struct{ pod, want string }{
		{task(", outrigger.dev/containers: db"), `outrigger.dev/containers: "db" is a sidecar, and those stay on Linux`},
		{task(", outrigger.dev/containers: sidecar-db"), `"sidecar-db" is a sidecar, and those stay on Linux`},
		{task(", outrigger.dev/containers: native"), `"native" is a sidecar, and those stay on Linux`},
		{task(", outrigger.dev/containers: prepare"), `"prepare" is an init container, and those stay on Linux`},
		{task(", outrigger.dev/containers: bild"), `the Pod has no container "bild", did you mean build?`},
		{task(", outrigger.dev/containers: nonsense"), `the Pod has no container "nonsense", want * or one of build, lint`},
		{task("", "STEP", "-post_file, x"),
			`step lint has neither script nor command, and the ENTRYPOINT of its image is not on the machine: give it one, or leave it on Linux with outrigger.dev/containers: "!lint"`},
		{task("", "PLACE", "pwsh"), "a script begins with #!win, which needs a Windows node: begin it with #!/usr/bin/env pwsh, or give the step a command"},
		{task(", outrigger.dev/sync.sorce: up"), `outrigger.dev/sync.sorce: the Pod has no volume "sorce"`},
	} {
		denied(t, parse(t, tt.pod), tt.want)
	}
}

func TestWhichStepsRunOnTheMachine(t *testing.T) {
	for annotations, want := range map[string]string{
		"":                                         "step-build step-lint",
		`, outrigger.dev/containers: "*"`:          "step-build step-lint",
		", outrigger.dev/containers: build":        "step-build",
		", outrigger.dev/containers: step-build":   "step-build",
		`, outrigger.dev/containers: "!build"`:     "step-lint",
		`, outrigger.dev/containers: "*, !lint"`:   "step-build",
		`, outrigger.dev/containers: "build,lint"`: "step-build step-lint",
		`, outrigger.dev/containers: ""`:           "step-build step-lint",
	} {
		pod := parse(t, task(annotations))
		hold(t, annotations, pod)
		out, err := mutate(pod)
		if err != nil {
			t.Errorf("%s: %v", annotations, err)
			continue
		}
		var got []string
		for _, c := range out.Spec.Containers {
			if c.Image == "relay:test" {
				got = append(got, c.Name)
			}
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s: %v, want %s", annotations, got, want)
		}
	}
}

func TestWarnings(t *testing.T) {
	pod := parse(t, `
metadata: {name: p, annotations: {outrigger.dev/pool: xcode, outrigger.dev/containers: "!linux"}}
spec:
  containers:
    - {name: a, image: a, command: [a], ports: [{containerPort: 53, protocol: UDP}, {containerPort: 80}]}
    - {name: linux, image: a, ports: [{containerPort: 54, protocol: UDP}]}
`)
	out, err := mutate(pod)
	if err != nil {
		t.Fatal(err)
	}
	if got := admit.Warnings(out); len(got) != 1 || !strings.HasPrefix(got[0], "container a: port 53/UDP is not forwarded to the machine: only TCP is") {
		t.Errorf("%q", got)
	}
}
