//go:build linux

package webhook_test

import (
	"context"
	"encoding/pem"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"outrigger.dev/outrigger/internal/admit"
	"outrigger.dev/outrigger/internal/fault"
)

// TestTheAPIServerSeesTheMark: the expression that the API server evaluates and admit.Marked
// are two ways to say one thing.
func TestTheAPIServerSeesTheMark(t *testing.T) {
	w := newWorld(t)
	var mu sync.Mutex
	asked := map[string]bool{}
	s := httptest.NewTLSServer(&admission.Webhook{Handler: admission.HandlerFunc(func(_ context.Context, req admission.Request) admission.Response {
		mu.Lock()
		defer mu.Unlock()
		asked[req.Name] = true
		return admission.Allowed("")
	})})
	t.Cleanup(s.Close)
	w.must(w.Create(t.Context(), &admissionv1.MutatingWebhookConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: "observer"},
		Webhooks: []admissionv1.MutatingWebhook{{
			Name:         "observer.example.com",
			ClientConfig: admissionv1.WebhookClientConfig{URL: &s.URL, CABundle: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})},
			Rules: []admissionv1.RuleWithOperations{{
				Operations: []admissionv1.OperationType{admissionv1.Create},
				Rule:       admissionv1.Rule{APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"pods"}},
			}},
			MatchConditions:         []admissionv1.MatchCondition{{Name: "marked", Expression: admit.MatchExpression()}},
			NamespaceSelector:       &metav1.LabelSelector{MatchLabels: map[string]string{corev1.LabelMetadataName: w.space}},
			SideEffects:             new(admissionv1.SideEffectClassNone),
			AdmissionReviewVersions: []string{"v1"},
		}},
	}))
	t.Cleanup(func() {
		err := w.Delete(context.WithoutCancel(t.Context()), &admissionv1.MutatingWebhookConfiguration{ObjectMeta: metav1.ObjectMeta{Name: "observer"}})
		if err != nil {
			t.Error(err)
		}
	})
	known := func(name string) bool {
		mu.Lock()
		defer mu.Unlock()
		return asked[name]
	}
	w.eventually("the observer is asked", func() error {
		if err := w.Create(t.Context(), w.marked("probe"), client.DryRunAll); err != nil {
			return err // the policy of another test, which is not forgotten yet
		}
		if !known("probe") {
			return fault.New(fault.Busy, "not yet")
		}
		return nil
	})

	var pods []*corev1.Pod
	annotate := func(annotations map[string]string) { pods = append(pods, pod(w.space, "", annotations)) }
	annotate(nil)
	for _, key := range []string{
		"pool", "containers", "exclude", "image", "keep", "network", "services", "priority", "sync.src", "request", "machine", "images",
		"poool", "Pool", "pool-name", "claim", "sync", "syncx", "containers.x",
	} {
		annotate(map[string]string{"outrigger.dev/" + key: ""})
		annotate(map[string]string{"outrigger.dev/" + key: "x", "other": "y"})
		annotate(map[string]string{"outrigger.dev/" + key: "x", "outrigger.dev/keep": "1h"})
	}
	for _, key := range []string{"x.outrigger.dev/pool", "outrigger.devx", "outrigger.de/v", "tekton.dev/outrigger.dev"} {
		annotate(map[string]string{key: "x"})
	}
	for _, selector := range []map[string]string{
		{}, {"kubernetes.io/os": "darwin"}, {"kubernetes.io/os": "Darwin"}, {"kubernetes.io/os": "linux"}, {"kubernetes.io/os": "windows"}, {"os": "darwin"},
		{"outrigger.dev/xcode": "16"}, {"kubernetes.io/arch": "arm64", "kubernetes.io/os": "darwin"},
	} {
		p := pod(w.space, "", nil)
		p.Spec.NodeSelector = selector
		pods = append(pods, p)
	}
	for _, labels := range []map[string]string{{}, {"outrigger.dev/claim": "x"}, {"outrigger.dev/claim": ""}, {"outrigger.dev/pool-name": "x"}, {"claim": "x"}} {
		p := pod(w.space, "", nil)
		p.Labels = labels
		pods = append(pods, p)
	}
	marked := 0
	for i, p := range pods {
		p.Name = fmt.Sprint("mark-", i)
		want := admit.Marked(p)
		w.must(w.Create(t.Context(), p.DeepCopy(), client.DryRunAll))
		if got := known(p.Name); got != want {
			t.Errorf("annotations %v, labels %v, selector %v: marked %t, asked %t", p.Annotations, p.Labels, p.Spec.NodeSelector, want, got)
		}
		if want {
			marked++
		}
	}
	t.Logf("%d Pods, %d marked", len(pods), marked)
}

// TestRestrictedStaysRestricted: in a namespace of the restricted profile, which the API server itself
// looks after, Pods that satisfy it are admitted also when they are marked; of others only the
// containers that run on a machine come to satisfy it.
func TestRestrictedStaysRestricted(t *testing.T) {
	w := newWorld(t)
	w.namespace(w.space+"-restricted", map[string]string{"pod-security.kubernetes.io/enforce": "restricted", "pod-security.kubernetes.io/enforce-version": "latest"})
	for _, name := range []string{"xcode", "windows"} {
		os, arch := "darwin", "arm64"
		if name == "windows" {
			os, arch = "windows", "amd64"
		}
		w.pool(name, os, arch, nil)
	}
	w.start()
	files, err := filepath.Glob("../testdata/*/*restricted*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("%d Pods, %v", len(files), err)
	}
	for _, file := range files {
		b, err := os.ReadFile(file)
		w.must(err)
		var p corev1.Pod
		w.must(yaml.UnmarshalStrict(b, &p))
		p.Namespace, p.OwnerReferences, p.Spec.ServiceAccountName, p.Spec.DeprecatedServiceAccount = w.space+"-restricted", nil, "", ""
		if err := w.Create(t.Context(), p.DeepCopy(), client.DryRunAll); err != nil {
			t.Errorf("%s: %v", file, err)
		}
		p.Annotations = nil
		p.Spec.NodeSelector = nil
		if err := w.Create(t.Context(), p.DeepCopy(), client.DryRunAll); err != nil {
			t.Errorf("%s is not restricted by itself: %v", file, err)
		}
	}
	loose := w.marked("loose")
	loose.Namespace += "-restricted"
	loose.Spec.SecurityContext = &corev1.PodSecurityContext{RunAsNonRoot: new(true)}
	w.must(w.Create(t.Context(), loose.DeepCopy(), client.DryRunAll))
	loose.Spec.Containers = append(loose.Spec.Containers, corev1.Container{Name: "linux", Image: "x"})
	loose.Annotations["outrigger.dev/containers"] = "main"
	if err := w.Create(t.Context(), loose, client.DryRunAll); err == nil || !strings.Contains(err.Error(), "linux") || strings.Contains(err.Error(), `"main"`) {
		t.Errorf("a container that stays on Linux is not what the profile wants: %v", err)
	}
}
