package admit_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"outrigger.dev/outrigger/api/v1alpha1"
	"outrigger.dev/outrigger/internal/admit"
	"outrigger.dev/outrigger/internal/fault"
)

// podWith is a Pod of the pool xcode with two containers, of which the annotations are
// those given besides.
const podWith = `
metadata:
  name: p
  annotations:
    outrigger.dev/pool: xcode
    ANNOTATIONS
spec:
  SPEC
  containers:
    - name: build
      image: xcode:16
      command: [make]
      MORE
    - name: lint
      image: lint
      command: [lint]
`

type filled struct{ annotations, spec, more string }

func (f filled) pod(t *testing.T) *corev1.Pod {
	t.Helper()
	return parse(t, strings.NewReplacer("ANNOTATIONS", f.annotations, "SPEC", f.spec, "MORE", f.more).Replace(podWith))
}

// TestSettings: each wrong annotation, and what is said of it.
func TestSettings(t *testing.T) {
	for annotation, want := range map[string]string{
		`outrigger.dev/kepe: 1h`:                `outrigger.dev/kepe: there is no such annotation, did you mean outrigger.dev/keep?`,
		`outrigger.dev/sync.: up`:               `outrigger.dev/sync.: the Pod has no volume "" and no other`,
		`outrigger.dev/xyzzy: x`:                `outrigger.dev/xyzzy: there is no such annotation, want one of outrigger.dev/containers, outrigger.dev/exclude, `,
		`outrigger.dev/image: ""`:               `outrigger.dev/image: "" is no image, want a name of at most 512 bytes without blanks`,
		`outrigger.dev/image: a b`:              `outrigger.dev/image: "a b" is no image`,
		`outrigger.dev/keep: soon`:              `outrigger.dev/keep: "soon" is no duration to keep a machine for, want one such as 30m or 2h, at most 24h`,
		`outrigger.dev/keep: 25h`:               `outrigger.dev/keep: "25h" is no duration`,
		`outrigger.dev/keep: -1s`:               `outrigger.dev/keep: "-1s" is no duration`,
		`outrigger.dev/network: all`:            `outrigger.dev/network: "all" is no network, want cluster`,
		`outrigger.dev/priority: high`:          `outrigger.dev/priority: "high" is no priority, want an integer such as 10 or -5`,
		`outrigger.dev/priority: "99999999999"`: `outrigger.dev/priority: "99999999999" is no priority`,
		`outrigger.dev/services: ""`:            `outrigger.dev/services: names no service, want HOST:PORT or LOCALPORT=HOST:PORT, separated by commas`,
		`outrigger.dev/services: web`:           `outrigger.dev/services: "web" is no service, want HOST:PORT or LOCALPORT=HOST:PORT such as postgres.db:5432 or 8080=web:80`,
		`outrigger.dev/services: web:0`:         `"web:0" is no service`,
		`outrigger.dev/services: web:70000`:     `"web:70000" is no service`,
		`outrigger.dev/services: 0=web:80`:      `"0=web:80" is no service`,
		`outrigger.dev/services: a_b:80`:        `"a_b:80" is no service`,
		`outrigger.dev/services: "[::1:80"`:     `"[::1:80" is no service`,
		`outrigger.dev/services: a:80, b:80`:    `"b:80": port 80 of the machine is taken by another one, want LOCALPORT=HOST:PORT with another LOCALPORT`,
		`outrigger.dev/exclude: "nosuch:*.o"`:   `outrigger.dev/exclude: "nosuch:*.o": the Pod has no volume "nosuch" and no other; a colon that belongs to the pattern is written \:`,
		`outrigger.dev/sync.src: both`:          `outrigger.dev/sync.src: the Pod has no volume "src" and no other`,
		`outrigger.dev/containers: bild`:        `outrigger.dev/containers: the Pod has no container "bild", did you mean build?`,
		`outrigger.dev/containers: nonsense`:    `outrigger.dev/containers: the Pod has no container "nonsense", want * or one of build, lint`,
		`outrigger.dev/containers: "!build,!lint"`: `outrigger.dev/containers: "!build,!lint" leaves no container to run on the machine; ` +
			`to run the whole Pod on Linux, take the mark outrigger.dev/pool away`,
	} {
		denied(t, filled{annotations: annotation}.pod(t), want)
	}
}

// TestUnfit: what else a Pod may not be.
func TestUnfit(t *testing.T) {
	for name, tt := range map[string]struct {
		filled
		want string
	}{
		"no command": {filled{spec: "initContainers: []", more: "args: [x]"}, ""},
		"scheduled already": {filled{spec: "nodeName: n1"},
			"spec.nodeName is set, and a Pod that waits for a machine is scheduled afterwards: leave it empty"},
		"a volume of our name": {filled{spec: "volumes: [{name: outrigger-state, emptyDir: {}}]"},
			"volumes outrigger-claim and outrigger-state are Outrigger's own: call yours something else"},
		"a mount at our place": {filled{spec: "volumes: [{name: v, emptyDir: {}}]", more: "volumeMounts: [{name: v, mountPath: /outrigger/claim/}]"},
			"container build: mount path /outrigger is Outrigger's own: mount volume v elsewhere"},
		"what cannot be brought back": {
			filled{annotations: "outrigger.dev/sync.v: both", spec: "volumes: [{name: v, secret: {secretName: s}}]", more: "volumeMounts: [{name: v, mountPath: /v}]"},
			"outrigger.dev/sync.v: both: the volume holds objects of the API server, so nothing can be brought back; want up or none"},
		"what is read-only": {
			filled{annotations: "outrigger.dev/sync.v: both", spec: "volumes: [{name: v, persistentVolumeClaim: {claimName: c, readOnly: true}}]", more: "volumeMounts: [{name: v, mountPath: /v}]"},
			"outrigger.dev/sync.v: both: the volume is read-only, so nothing can be brought back; want up or none"},
		"a word that says nothing": {
			filled{annotations: "outrigger.dev/sync.v: down", spec: "volumes: [{name: v, emptyDir: {}}]", more: "volumeMounts: [{name: v, mountPath: /v}]"},
			`outrigger.dev/sync.v: "down" says nothing, want both, up or none`},
		"a volume that is nearly called so": {
			filled{annotations: "outrigger.dev/sync.sorce: up", spec: "volumes: [{name: source, emptyDir: {}}]"},
			`outrigger.dev/sync.sorce: the Pod has no volume "sorce", did you mean source?`},
		"an init container": {
			filled{annotations: "outrigger.dev/containers: setup", spec: "initContainers: [{name: setup, image: x}]"},
			`outrigger.dev/containers: "setup" is an init container, and those stay on Linux`},
		"a sidecar": {
			filled{annotations: "outrigger.dev/containers: db", spec: "initContainers: [{name: db, image: x, restartPolicy: Always}]"},
			`outrigger.dev/containers: "db" is a sidecar, and those stay on Linux`},
		"another system": {filled{spec: "nodeSelector: {kubernetes.io/os: windows}"},
			`nodeSelector kubernetes.io/os wants "windows", and the machines of pool xcode are darwin/arm64`},
		"another architecture": {filled{spec: "nodeSelector: {kubernetes.io/os: darwin, kubernetes.io/arch: amd64}"},
			`nodeSelector kubernetes.io/arch wants "amd64", and the machines of pool xcode are darwin/arm64`},
		"a label of another pool": {filled{spec: `nodeSelector: {outrigger.dev/xcode: "15"}`},
			`nodeSelector wants outrigger.dev/xcode="15", which pool xcode does not have`},
	} {
		if tt.want != "" {
			denied(t, tt.pod(t), tt.want)
		} else if _, err := mutate(tt.pod(t)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestPools: which pool is meant.
func TestPools(t *testing.T) {
	const containers = "\nspec: {NODE containers: [{name: a, image: a, command: [a]}]}"
	for pod, want := range map[string]string{
		`metadata: {annotations: {outrigger.dev/pool: xcod}}`:                               `outrigger.dev/pool: there is no pool "xcod", did you mean xcode?`,
		`metadata: {annotations: {outrigger.dev/pool: nonsense}}`:                           `outrigger.dev/pool: there is no pool "nonsense"; namespace team may use linux (linux/amd64), windows (windows/amd64), xcode (darwin/arm64, outrigger.dev/xcode=16)`,
		`metadata: {annotations: {outrigger.dev/pool: ""}}`:                                 `outrigger.dev/pool: there is no pool ""`,
		`metadata: {annotations: {outrigger.dev/pool: signing}}`:                            `outrigger.dev/pool: pool "signing" may not be used in namespace team, which may use linux`,
		`metadata: {annotations: {outrigger.dev/pool: "` + strings.Repeat("x", 100) + `"}}`: `there is no pool "` + strings.Repeat("x", 60) + `…"`,
		`metadata: {labels: {outrigger.dev/claim: x}}`:                                      `label outrigger.dev/claim: is for Outrigger to set; name a pool with the annotation outrigger.dev/pool`,
		`metadata: {annotations: {outrigger.dev/machine: x}}`:                               `annotation outrigger.dev/machine: is for Outrigger to write; name a pool with the annotation outrigger.dev/pool`,
		`metadata: {annotations: {outrigger.dev/request: x}}`:                               `annotation outrigger.dev/request: is for Outrigger to write`,
		`metadata: {annotations: {outrigger.dev/poool: xcode}}`:                             `outrigger.dev/poool: there is no such annotation, did you mean outrigger.dev/pool?`,
	} {
		denied(t, parse(t, pod+strings.Replace(containers, "NODE", "", 1)), want)
	}
	for selector, want := range map[string]string{
		"kubernetes.io/os: darwin, kubernetes.io/arch: amd64": "nodeSelector: no pool that namespace team may use has machines of darwin/amd64; it may use linux",
		`kubernetes.io/os: darwin, outrigger.dev/xcode: "15"`: "nodeSelector: no pool that namespace team may use has machines of darwin, outrigger.dev/xcode=15; it may use",
	} {
		denied(t, parse(t, "metadata: {name: p}"+strings.Replace(containers, "NODE", "nodeSelector: {"+selector+"},", 1)), want)
	}
}

// TestOnePlace: what containers that run at a time would see in one place of the machine.
func TestOnePlace(t *testing.T) {
	const two = `
metadata: {name: p, annotations: {outrigger.dev/pool: xcode}}
spec:
  volumes: [{name: x, emptyDir: {}}, {name: w, emptyDir: {}}]
  containers:
    - {name: a, image: a, command: [a], volumeMounts: [A]}
    - {name: b, image: b, command: [b], volumeMounts: [B]}
`
	for _, tt := range []struct{ a, b, want string }{
		{"{name: x, mountPath: /m}", "{name: w, mountPath: /m}",
			"containers a and b share one machine, where a mounts volume x at /m and b volume w at /m: mount them at different paths, or leave one out with outrigger.dev/sync.w: none"},
		{"{name: x, mountPath: /m}", "{name: w, mountPath: /m/n}", "where a mounts volume x at /m and b volume w at /m/n"},
		{"{name: x, mountPath: /m/n}", "{name: w, mountPath: /m}", "where b mounts volume w at /m and a volume x at /m/n"},
		{"{name: x, mountPath: /m, subPath: 1}", "{name: x, mountPath: /m, subPath: 2}", "where a mounts volume x at /m and b another part of it at /m"},
		{"{name: x, mountPath: /m}", "{name: x, mountPath: /m}", ""},
		{"{name: x, mountPath: /m}, {name: w, mountPath: /m/n}", "{name: x, mountPath: /m}, {name: w, mountPath: /m/n}", ""},
		{"{name: x, mountPath: /m}", "{name: w, mountPath: /n}", ""},
	} {
		pod := parse(t, strings.NewReplacer("A]", tt.a+"]", "B]", tt.b+"]").Replace(two))
		if tt.want != "" {
			denied(t, pod, tt.want)
		} else if _, err := mutate(pod); err != nil {
			t.Errorf("%s and %s: %v", tt.a, tt.b, err)
		}
	}
}

// TestWithoutCommand: nothing of an image is on the machine.
func TestWithoutCommand(t *testing.T) {
	const pod = `
metadata: {name: p, annotations: {outrigger.dev/pool: xcode CONTAINERS}}
spec:
  containers:
    - {name: a, image: "registry/a:1", args: [x]}
    - {name: b, image: b, command: [b]}
`
	denied(t, parse(t, strings.Replace(pod, "CONTAINERS", "", 1)),
		`container a has no command, and the ENTRYPOINT of its image is not on the machine ("registry/a:1"): give it a command, or leave it on Linux with outrigger.dev/containers: "!a"`)
	if _, err := mutate(parse(t, strings.Replace(pod, "CONTAINERS", `, outrigger.dev/containers: "!a"`, 1))); err != nil {
		t.Errorf("as the message says: %v", err)
	}
}

// TestAllAtOnce: everything that is wrong is in one message, in one line.
func TestAllAtOnce(t *testing.T) {
	pod := filled{annotations: "outrigger.dev/keep: x\n    outrigger.dev/network: w", spec: "nodeName: n\n  volumes: [{name: outrigger-claim, emptyDir: {}}]"}.pod(t)
	_, err := mutate(pod)
	if err == nil {
		t.Fatal("admitted")
	}
	for _, want := range []string{`"x" is no duration`, `"w" is no network`} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%s\nlacks %s", err, want)
		}
	}
}

// denied checks that a Pod is denied with this in the message, which is one line, of a kind
// that the webhook takes for the user's.
func denied(t *testing.T, pod *corev1.Pod, want string) {
	t.Helper()
	switch out, err := mutate(pod); {
	case err == nil:
		t.Errorf("admitted; want: %s", want)
	case out != nil:
		t.Errorf("denied with a Pod: %v", err)
	case !strings.Contains(err.Error(), want):
		t.Errorf("got:  %s\nwant: %s", err, want)
	case strings.ContainsAny(err.Error(), "\n\r") || !fault.Is(err, fault.Config) || fault.Remedy(err) == "":
		t.Errorf("%q, of kind %s, remedy %q", err, fault.Of(err), fault.Remedy(err))
	}
}

// TestPrioritiesOfAPool: more than the pool allows is refused; where it does not say, the Pod is served like all others
// and its user hears of it.
func TestPrioritiesOfAPool(t *testing.T) {
	for _, tt := range []struct {
		asked  string
		most   *int32
		served int32
		denial string
		warned bool
	}{
		{"10", nil, 0, "", true},
		{"-3", nil, -3, "", false},
		{"0", nil, 0, "", false},
		{"10", new(int32(10)), 10, "", false},
		{"11", new(int32(10)), 0, `outrigger.dev/priority: 11 is more than the 10 that pool xcode allows (maxPriority)`, false},
		{"-1", new(int32(-5)), 0, `outrigger.dev/priority: -1 is more than the -5 that pool xcode allows (maxPriority)`, false},
		{"2147483647", new(int32(0)), 0, `outrigger.dev/priority: 2147483647 is more than the 0 that pool xcode allows (maxPriority)`, false},
	} {
		pool := admit.Pool{Name: "xcode", OS: "darwin", Arch: "arm64", MaxPriority: tt.most}
		pod := filled{annotations: `outrigger.dev/priority: "` + tt.asked + `"`}.pod(t)
		out, err := mutateOf(pod, pool)
		if tt.denial != "" {
			if !fault.Is(err, fault.Config) || !errors.Is(err, admit.ErrPool) || !strings.Contains(err.Error(), tt.denial) {
				t.Errorf("%s of at most %d: %v, want %s", tt.asked, *tt.most, err, tt.denial)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", tt.asked, err)
			continue
		}
		var spec v1alpha1.MachineClaimSpec
		if err := json.Unmarshal([]byte(out.Annotations[v1alpha1.AnnotationRequest]), &spec); err != nil || spec.Priority != tt.served {
			t.Errorf("%s: the claim asks for %d, %v, want %d", tt.asked, spec.Priority, err, tt.served)
		}
		warned := strings.Join(admit.Warnings(out), "; ")
		if strings.Contains(warned, "outrigger.dev/priority: 10 counts as 0") != tt.warned {
			t.Errorf("%s: warned %q", tt.asked, warned)
		}
	}
}
