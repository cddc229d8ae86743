//go:build linux

package webhook_test

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"outrigger.dev/outrigger/api/v1alpha1"
	"outrigger.dev/outrigger/internal/handoff"
)

// injector is another mutating webhook, as service meshes and policy engines have one. The API
// server asks in the order of the configurations' names.
func (w *world) injector(name string, change func(*corev1.Pod)) {
	w.Helper()
	decoder := admission.NewDecoder(server.Scheme())
	hook := &admission.Webhook{Handler: admission.HandlerFunc(func(_ context.Context, req admission.Request) admission.Response {
		var p corev1.Pod
		if err := decoder.Decode(req, &p); err != nil {
			return admission.Errored(400, err)
		}
		change(&p)
		b, err := json.Marshal(&p)
		if err != nil {
			return admission.Errored(500, err)
		}
		return admission.PatchResponseFromRaw(req.Object.Raw, b)
	})}
	s := httptest.NewTLSServer(hook)
	w.Cleanup(s.Close)
	c := &admissionv1.MutatingWebhookConfiguration{ObjectMeta: metav1.ObjectMeta{Name: name}, Webhooks: []admissionv1.MutatingWebhook{{
		Name: name + ".example.com",
		ClientConfig: admissionv1.WebhookClientConfig{
			URL: &s.URL, CABundle: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}),
		},
		Rules: []admissionv1.RuleWithOperations{{
			Operations: []admissionv1.OperationType{admissionv1.Create},
			Rule:       admissionv1.Rule{APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"pods"}},
		}},
		NamespaceSelector:       &metav1.LabelSelector{MatchLabels: map[string]string{corev1.LabelMetadataName: w.space}},
		SideEffects:             new(admissionv1.SideEffectClassNone),
		AdmissionReviewVersions: []string{"v1"},
	}}}
	w.must(w.Create(w.Context(), c))
	w.Cleanup(func() {
		if err := w.Delete(context.WithoutCancel(w.Context()), c); err != nil {
			w.Error(err)
		}
	})
}

// inject adds a proxy and what it needs, once.
func inject(p *corev1.Pod) {
	if slices.ContainsFunc(p.Spec.Containers, func(c corev1.Container) bool { return c.Name == "proxy" }) {
		return
	}
	main := &p.Spec.Containers[0]
	main.Env = append(main.Env, corev1.EnvVar{Name: "PROXY", Value: "on"})
	main.VolumeMounts = append(main.VolumeMounts, corev1.VolumeMount{Name: "mesh", MountPath: "/etc/mesh"})
	p.Spec.Volumes = append(p.Spec.Volumes, corev1.Volume{Name: "mesh", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}})
	p.Spec.Containers = append(p.Spec.Containers, corev1.Container{Name: "proxy", Image: "proxy:1"})
}

func TestOtherWebhooks(t *testing.T) {
	for name, tt := range map[string]struct{ configuration, containers string }{
		"before": {"a-mesh", "!proxy"}, // it is there when we are asked first, so the Pod has to say that it is no part of the work
		"after":  {"z-mesh", ""},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.pool("xcode", "darwin", "arm64", nil)
			w.start()
			w.injector(tt.configuration, inject)
			p := w.marked("meshed")
			if tt.containers != "" {
				p.Annotations[v1alpha1.AnnotationContainers] = tt.containers
			}
			w.eventually("the other webhook is asked", func() error {
				p := pod(w.space, "probe", nil)
				if err := w.Create(t.Context(), p, client.DryRunAll); err != nil {
					return err
				}
				if len(p.Spec.Containers) < 2 {
					return context.DeadlineExceeded
				}
				return nil
			})
			w.must(w.Create(t.Context(), p))
			main, proxy := p.Spec.Containers[0], p.Spec.Containers[1]
			if proxy.Image != "proxy:1" || len(proxy.Command)+len(proxy.Args)+len(proxy.Env) > 0 {
				t.Errorf("the proxy was changed: %+v", proxy)
			}
			if main.Image != "relay:test" || !slices.Equal(main.Args, []string{"sh", "-c", "make test"}) {
				t.Errorf("main: %s %q %q", main.Image, main.Command, main.Args)
			}
			var plans []string
			for _, e := range main.Env {
				if e.Name == handoff.PlanVariable {
					plans = append(plans, strings.ReplaceAll(e.Value, "$$", "$"))
				}
			}
			if len(plans) != 1 {
				t.Fatalf("%d plans", len(plans))
			}
			plan, err := handoff.ParsePlan([]byte(plans[0]))
			w.must(err)
			if !slices.Contains(plan.Env, "PROXY") || len(plan.Views) != 1 || plan.Views[0].Mounts[0].Path != "/etc/mesh" {
				t.Errorf("the plan lacks what was added: %+v", plan)
			}
			if len(p.Spec.SchedulingGates) != 1 || len(p.Spec.Volumes) != 3 {
				t.Errorf("gates %v, volumes %v", p.Spec.SchedulingGates, p.Spec.Volumes)
			}
		})
	}
}
