package devorka_test

import (
	"context"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/dynamic/dynamicinformer"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"

	"outrigger.dev/outrigger/internal/devorka"
)

var gvr = schema.GroupVersionResource{Group: "orka.macstadium.com", Version: "v1", Resource: "virtualmachineinstances"}

func vmi(name string) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "orka.macstadium.com/v1", "kind": "VirtualMachineInstance", "metadata": map[string]any{"name": name, "labels": map[string]any{"mine": "yes"}},
		"spec": map[string]any{"image": sequoia}, "status": map[string]any{"memory": "", "nodeName": "", "startTime": int64(0)},
	}}
}

// TestInformer: the clients of controllers keep up, over restarts of the server too.
func TestInformer(t *testing.T) {
	c := start(t, devorka.Config{Hosts: 3})
	client, err := dynamic.NewForConfig(&rest.Config{
		Host: c.KubeEndpoint(), BearerToken: c.token, TLSClientConfig: rest.TLSClientConfig{CAData: c.CA()}, QPS: 100, Burst: 100,
	})
	if err != nil {
		t.Fatal(err)
	}
	in := client.Resource(gvr).Namespace("orka-default")
	if _, err := in.Create(t.Context(), vmi("before"), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	factory := dynamicinformer.NewFilteredDynamicSharedInformerFactory(client, 0, "orka-default", func(o *metav1.ListOptions) { o.LabelSelector = "mine=yes" })
	informer := factory.ForResource(gvr).Informer()
	factory.Start(ctx.Done())
	defer func() { cancel(); factory.Shutdown() }()
	if !cache.WaitForCacheSync(ctx.Done(), informer.HasSynced) {
		t.Fatal("the cache does not fill")
	}
	has := func(name, phase string) func() bool {
		return func() bool {
			o, there, err := informer.GetStore().GetByKey("orka-default/" + name)
			if err != nil || !there {
				return phase == ""
			}
			got, _, _ := unstructured.NestedString(o.(*unstructured.Unstructured).Object, "status", "phase")
			return got == phase
		}
	}
	await(t, "the first VM is seen", has("before", "Running"))
	if err := c.Restart(t.Context(), 100*time.Millisecond); err != nil {
		t.Fatal(err)
	}
	if _, err := in.Create(t.Context(), vmi("after"), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	await(t, "the second VM is seen after the restart", has("after", "Running"))
	c.arm(`{"kind": "cut", "delay": "50ms", "count": 3}`)
	if _, err := in.Patch(t.Context(), "after", types.MergePatchType, []byte(`{"metadata":{"labels":{"mine":"no"}}}`), metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	await(t, "a VM that is no longer selected is gone from the cache", has("after", ""))
	if err := in.Delete(t.Context(), "before", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	await(t, "a deleted VM is gone from the cache", has("before", ""))
}

// TestTemplateByLabel: clients create a VM of a prefix and a template, and nothing else.
func TestTemplateByLabel(t *testing.T) {
	c := start(t, devorka.Config{})
	client, err := dynamic.NewForConfig(&rest.Config{Host: c.KubeEndpoint(), BearerToken: c.token, TLSClientConfig: rest.TLSClientConfig{CAData: c.CA()}})
	if err != nil {
		t.Fatal(err)
	}
	config := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "orka.macstadium.com/v1", "kind": "VirtualMachineConfig", "metadata": map[string]any{"name": "ci"},
		"spec": map[string]any{"image": "sonoma-90gb-orka3-arm", "cpu": int64(4)},
	}}
	configs := client.Resource(schema.GroupVersionResource{Group: gvr.Group, Version: gvr.Version, Resource: "virtualmachineconfigs"}).Namespace("orka-default")
	if _, err := configs.Create(t.Context(), config, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	in := client.Resource(gvr).Namespace("orka-default")
	made, err := in.Create(t.Context(), &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "orka.macstadium.com/v1", "kind": "VirtualMachineInstance",
		"metadata": map[string]any{"generateName": "ci-", "labels": map[string]any{"orka.macstadium.com/vm-config": "ci"}},
	}}, metav1.CreateOptions{FieldValidation: "Strict"})
	if err != nil {
		t.Fatal(err)
	}
	image, _, _ := unstructured.NestedString(made.Object, "spec", "image")
	cpu, _, _ := unstructured.NestedInt64(made.Object, "spec", "cpu")
	if len(made.GetName()) != len("ci-")+5 || image != "sonoma-90gb-orka3-arm" || cpu != 4 {
		t.Errorf("made: %s %s %d", made.GetName(), image, cpu)
	}
	w, err := in.Watch(t.Context(), metav1.ListOptions{FieldSelector: "metadata.name=" + made.GetName()})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Stop()
	for e := range w.ResultChan() {
		o := e.Object.(*unstructured.Unstructured)
		if phase, _, _ := unstructured.NestedString(o.Object, "status", "phase"); phase == "Running" {
			return
		}
	}
	t.Error("the watch ended before the VM ran")
}
