package deploy

import (
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
)

const (
	kustomization = "../../deploy/kustomize"
	chart         = "../../deploy/helm/outrigger"
	namespace     = "outrigger-system"
)

// An object is one of Kubernetes', whatever its type.
type object = *unstructured.Unstructured

// kustomized renders deploy/kustomize.
func kustomized(t *testing.T) map[string]object {
	t.Helper()
	out, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), kustomization)
	if err != nil {
		t.Fatal(err)
	}
	text, err := out.AsYaml()
	if err != nil {
		t.Fatal(err)
	}
	return parse(t, string(text))
}

// helmed renders the chart with these values.
func helmed(t *testing.T, values map[string]any) (map[string]object, error) {
	t.Helper()
	c, err := loader.Load(chart)
	if err != nil {
		t.Fatal(err)
	}
	all, err := chartutil.ToRenderValues(c, values, chartutil.ReleaseOptions{Name: "outrigger", Namespace: namespace, IsInstall: true}, chartutil.DefaultCapabilities)
	if err != nil {
		return nil, err
	}
	files, err := engine.Render(c, all)
	if err != nil {
		return nil, err
	}
	var text strings.Builder
	for name, content := range files {
		if strings.HasSuffix(name, ".yaml") {
			text.WriteString("\n---\n" + content)
		}
	}
	return parse(t, text.String()), nil
}

// parse returns the objects by kind and name.
func parse(t *testing.T, text string) map[string]object {
	t.Helper()
	objects := map[string]object{}
	for d := yaml.NewYAMLOrJSONDecoder(strings.NewReader(text), 4096); ; {
		var o unstructured.Unstructured
		err := d.Decode(&o.Object)
		if err == io.EOF {
			return objects
		}
		if err != nil {
			t.Fatal(err)
		}
		if len(o.Object) > 0 {
			objects[o.GetKind()+" "+o.GetName()] = &o
		}
	}
}

func TestTheChartIsTheKustomization(t *testing.T) {
	want := kustomized(t)
	delete(want, "Namespace "+namespace) // helm install --create-namespace makes it
	got, err := helmed(t, nil)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(slices.Sorted(maps.Keys(want)), slices.Sorted(maps.Keys(got))); diff != "" {
		t.Fatalf("objects (-kustomize +helm):\n%s", diff)
	}
	for name, w := range want {
		g := got[name]
		for _, o := range []object{w, g} { // each tool has its own
			labels := o.GetLabels()
			maps.DeleteFunc(labels, func(k, _ string) bool {
				return strings.HasPrefix(k, "helm.sh/") || slices.Contains([]string{"app.kubernetes.io/instance", "app.kubernetes.io/managed-by", "app.kubernetes.io/part-of"}, k)
			})
			o.SetLabels(labels)
			annotations := o.GetAnnotations()
			delete(annotations, "helm.sh/resource-policy")
			o.SetAnnotations(annotations)
		}
		if containers, ok, _ := unstructured.NestedSlice(g.Object, "spec", "template", "spec", "containers"); ok {
			delete(containers[0].(map[string]any), "imagePullPolicy") // kustomize leaves it to the API server
			if err := unstructured.SetNestedSlice(g.Object, containers, "spec", "template", "spec", "containers"); err != nil {
				t.Fatal(err)
			}
		}
		if diff := cmp.Diff(normal(t, w), normal(t, g)); diff != "" {
			t.Errorf("%s (-kustomize +helm):\n%s", name, diff)
		}
	}
}

// normal makes numbers of one kind: the two tools read them differently.
func normal(t *testing.T, o object) map[string]any {
	t.Helper()
	b, err := o.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	var n unstructured.Unstructured
	if err := n.UnmarshalJSON(b); err != nil {
		t.Fatal(err)
	}
	return n.Object
}

func TestValuesOfTheChart(t *testing.T) {
	objects, err := helmed(t, map[string]any{
		"image":    map[string]any{"registry": "registry.example.com/o", "tag": "v1"},
		"replicas": 3, "logLevel": "debug", "clusterID": "c1", "extraArgs": []any{"--webhook-address=:1"},
		"imagePullSecrets": []any{map[string]any{"name": "pull"}}, "priorityClassName": "high",
		"nodeSelector": map[string]any{"a": "b"}, "tolerations": []any{map[string]any{"key": "k"}},
		"crds": map[string]any{"install": false},
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := objects["CustomResourceDefinition machines.outrigger.dev"]; ok {
		t.Error("CRDs although crds.install is false")
	}
	text := fmt.Sprint(objects["Deployment outrigger-controller"].Object)
	for _, want := range []string{
		"registry.example.com/o/controller:v1", "outrigger.dev/relay-image:registry.example.com/o/relay:v1", "replicas:3",
		"--log-level=debug", "--cluster-id=c1", "--webhook-address=:1", "imagePullSecrets:[map[name:pull]]", "priorityClassName:high", "a:b", "tolerations:[map[key:k]]",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %s in %s", want, text)
		}
	}
}

// TestWhoMayAskTheWebhook: the policy is about its port and no other, by both tools.
func TestWhoMayAskTheWebhook(t *testing.T) {
	objects, err := helmed(t, map[string]any{"webhookSources": []any{"192.0.2.10/32"}})
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(kustomization + "/network-policy/network-policy.yaml")
	if err != nil {
		t.Fatal(err)
	}
	const name = "NetworkPolicy outrigger-webhook"
	want := parse(t, string(b))[name]
	if diff := cmp.Diff(normal(t, want)["spec"], normal(t, objects[name])["spec"]); diff != "" {
		t.Errorf("(-kustomize +helm):\n%s", diff)
	}
	if objects, err = helmed(t, nil); err != nil || objects[name] != nil {
		t.Errorf("without addresses: %v, %v", objects[name], err)
	}
}

func TestWrongValuesAreRefused(t *testing.T) {
	for what, values := range map[string]map[string]any{
		"unknown":   {"imagee": "x"},
		"replicas":  {"replicas": 0},
		"log level": {"logLevel": "loud"},
		"flag":      {"extraArgs": []any{"x"}},
		"source":    {"webhookSources": []any{"everybody"}},
	} {
		if _, err := helmed(t, values); err == nil {
			t.Errorf("%s: the schema takes %v", what, values)
		}
	}
}
