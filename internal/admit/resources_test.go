package admit_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"

	"outrigger.dev/outrigger/api/v1alpha1"
	"outrigger.dev/outrigger/internal/handoff"
)

func replaceOne(text, word, by string) string { return strings.Replace(text, word, by, 1) }

// TestWhatIsSaidOfResources: it is the user's, or the node's, and never the relay's.
func TestWhatIsSaidOfResources(t *testing.T) {
	const pod = `
metadata: {name: p, annotations: {outrigger.dev/pool: xcode, outrigger.dev/containers: "!stays"}}
spec:
  RESOURCES
  volumes:
    - name: info
      projected: {sources: [{downwardAPI: {items: [{path: f, resourceFieldRef: {REF}}, {path: name, fieldRef: {fieldPath: metadata.name}}]}}]}
    - name: more
      downwardAPI: {items: [{path: f, resourceFieldRef: {REF}}]}
  initContainers:
    - {name: init, image: i, env: [{name: V, valueFrom: {resourceFieldRef: {REF}}}]}
  containers:
    - name: limited
      image: i
      command: [x]
      resources: {limits: {cpu: 4, memory: 2Gi, hugepages-2Mi: 4Mi}, requests: {cpu: 50m}}
      env: [{name: V, valueFrom: {resourceFieldRef: {REF}}}]
    - {name: free, image: i, command: [x]}
    - {name: stays, image: i, env: [{name: V, valueFrom: {resourceFieldRef: {REF}}}], resources: {limits: {memory: 1Gi}}}
`
	for ref, want := range map[string]string{
		"containerName: limited, resource: limits.cpu":                    "4",
		"containerName: limited, resource: limits.memory, divisor: 1Mi":   "2048",
		"containerName: limited, resource: limits.memory":                 "2147483648",
		"containerName: limited, resource: requests.cpu, divisor: 1m":     "50",
		"containerName: limited, resource: requests.cpu":                  "1",
		"containerName: limited, resource: requests.memory, divisor: 1Gi": "2", // the limit, as the API server has it
		"containerName: limited, resource: limits.hugepages-2Mi":          "4194304",
		"containerName: free, resource: requests.memory":                  "0",
		"containerName: free, resource: limits.memory":                    "", // the node's
		"containerName: free, resource: limits.cpu":                       "",
		"containerName: stays, resource: limits.memory":                   "", // the kubelet's answer is right
		"containerName: limited, resource: limits.ephemeral-storage":      "",
	} {
		out, err := mutate(parse(t, strings.NewReplacer("REF", ref, "RESOURCES", "restartPolicy: Never").Replace(pod)))
		if err != nil {
			t.Errorf("%s: %v", ref, err)
			continue
		}
		said := func(field *corev1.ObjectFieldSelector, resource *corev1.ResourceFieldSelector) string {
			if field == nil || resource != nil {
				return ""
			}
			return out.Annotations[strings.TrimSuffix(strings.TrimPrefix(field.FieldPath, "metadata.annotations['"), "']")]
		}
		file, more := out.Spec.Volumes[0].Projected.Sources[0].DownwardAPI.Items[0], out.Spec.Volumes[1].DownwardAPI.Items[0]
		got := []string{
			out.Spec.InitContainers[0].Env[0].Value, out.Spec.Containers[0].Env[0].Value, out.Spec.Containers[2].Env[0].Value,
			said(file.FieldRef, file.ResourceFieldRef), said(more.FieldRef, more.ResourceFieldRef),
		}
		if diff := cmp.Diff([]string{want, want, want, want, want}, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", ref, diff)
		}
		// The kubelet takes the node's where there is no limit, and so none is there.
		for name, asked := range map[corev1.ResourceName]bool{corev1.ResourceCPU: true, corev1.ResourceMemory: strings.Contains(ref, "free, resource: limits.memory")} {
			if limit, set := out.Spec.Containers[1].Resources.Limits[name]; asked && set {
				t.Errorf("%s: the relay's limit of %s is %s, which the kubelet would tell", ref, name, limit.String())
			}
		}
	}
	// Of a Pod that is limited as a whole that is what its containers may use.
	out, err := mutate(parse(t, strings.NewReplacer("REF", "containerName: free, resource: limits.memory, divisor: 1Mi",
		"RESOURCES", "resources: {limits: {memory: 3Gi}}").Replace(pod)))
	if err != nil || out.Spec.Containers[0].Env[0].Value != "3072" {
		t.Errorf("%v, %+v", err, out)
	}
}

// TestARelayAsksForNoMore than its container did, so that what a quota admits on the node it admits here.
func TestARelayAsksForNoMore(t *testing.T) {
	for resources, want := range map[string]string{
		"{}": "requests 10m 32Mi, limits 0 256Mi",
		"{limits: {cpu: 200m, memory: 64Mi}, requests: {cpu: 10m, memory: 32Mi}}": "requests 10m 32Mi, limits 200m 64Mi",
		"{limits: {cpu: 200m, memory: 64Mi}}":                                     "requests 10m 32Mi, limits 200m 64Mi",
		"{limits: {cpu: 5m, memory: 100Mi}}":                                      "requests 5m 32Mi, limits 5m 100Mi",
		"{requests: {cpu: 1m, memory: 1Mi}}":                                      "requests 1m 1Mi, limits 0 256Mi",
		"{limits: {cpu: 8, memory: 32Gi}, requests: {cpu: 8, memory: 32Gi}}":      "requests 10m 32Mi, limits 1 256Mi",
		"{limits: {memory: 16Mi}}":                                                "requests 10m 16Mi, limits 0 32Mi", // with less it could not run
	} {
		out, err := mutate(parse(t, `
metadata: {name: p, annotations: {outrigger.dev/pool: xcode}}
spec: {containers: [{name: a, image: a, command: [a], resources: `+resources+`}]}`))
		if err != nil {
			t.Fatal(err)
		}
		r := out.Spec.Containers[0].Resources
		got := "requests " + r.Requests.Cpu().String() + " " + r.Requests.Memory().String() +
			", limits " + r.Limits.Cpu().String() + " " + r.Limits.Memory().String()
		if got != want {
			t.Errorf("%s: %s, want %s", resources, got, want)
		}
	}
}

// TestEnvFrom: what comes from elsewhere comes once more, under names that tell so.
func TestEnvFrom(t *testing.T) {
	out, err := mutate(parse(t, `
metadata: {name: p, annotations: {outrigger.dev/pool: xcode}}
spec:
  containers:
    - name: a
      image: a
      command: [a]
      env: [{name: HOME, value: /h}]
      envFrom: [{configMapRef: {name: c, optional: true}}, {prefix: P_, secretRef: {name: s}}]
`))
	if err != nil {
		t.Fatal(err)
	}
	want := []corev1.EnvFromSource{
		{ConfigMapRef: &corev1.ConfigMapEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: "c"}, Optional: new(true)}},
		{Prefix: "P_", SecretRef: &corev1.SecretEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: "s"}}},
	}
	for _, s := range want[:2] {
		s.Prefix = "OUTRIGGER_FROM_" + s.Prefix
		want = append(want, s)
	}
	if diff := cmp.Diff(want, out.Spec.Containers[0].EnvFrom); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	again, err := mutate(wire(t, out))
	if err != nil || len(again.Spec.Containers[0].EnvFrom) != len(want) {
		t.Errorf("a second call: %v, %+v", err, again)
	}
}

// TestOneWord: relays write it, and cannot import where it is read.
func TestOneWord(t *testing.T) {
	if handoff.ResultsLeft != v1alpha1.ResultsLeft {
		t.Errorf("%s and %s", handoff.ResultsLeft, v1alpha1.ResultsLeft)
	}
}
