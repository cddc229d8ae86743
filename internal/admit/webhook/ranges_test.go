//go:build linux

package webhook_test

import (
	"errors"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"outrigger.dev/outrigger/api/v1alpha1"
)

// The API server's LimitRanger looks at a Pod before the webhook and after it: what it let pass it lets pass again.
func TestLimitRanges(t *testing.T) {
	w := newWorld(t)
	w.pool("xcode", "darwin", "arm64", nil)
	w.start()
	list := func(cpu, memory string) corev1.ResourceList {
		l := corev1.ResourceList{}
		for name, text := range map[corev1.ResourceName]string{corev1.ResourceCPU: cpu, corev1.ResourceMemory: memory} {
			if text != "" {
				l[name] = resource.MustParse(text)
			}
		}
		return l
	}
	for name, tt := range map[string]struct {
		item             corev1.LimitRangeItem
		requests, limits corev1.ResourceList // of each of two containers
	}{
		"a minimum":                {corev1.LimitRangeItem{Type: corev1.LimitTypeContainer, Min: list("100m", "300Mi")}, list("1", "1Gi"), nil},
		"a minimum, and no wish":   {corev1.LimitRangeItem{Type: corev1.LimitTypeContainer, Min: list("100m", "300Mi"), DefaultRequest: list("200m", "400Mi")}, nil, nil},
		"a maximum":                {corev1.LimitRangeItem{Type: corev1.LimitTypeContainer, Max: list("500m", "200Mi")}, list("100m", "10Mi"), list("500m", "100Mi")},
		"a maximum, and no wish":   {corev1.LimitRangeItem{Type: corev1.LimitTypeContainer, Max: list("500m", "200Mi")}, nil, nil},
		"both, close to another":   {corev1.LimitRangeItem{Type: corev1.LimitTypeContainer, Min: list("300m", "100Mi"), Max: list("300m", "100Mi")}, nil, nil},
		"a ratio":                  {corev1.LimitRangeItem{Type: corev1.LimitTypeContainer, MaxLimitRequestRatio: list("3", "1500m")}, list("1", "1Gi"), list("2", "1Gi")},
		"a minimum of the Pod":     {corev1.LimitRangeItem{Type: corev1.LimitTypePod, Min: list("1", "1Gi")}, list("600m", "600Mi"), nil},
		"a maximum of the Pod":     {corev1.LimitRangeItem{Type: corev1.LimitTypePod, Max: list("1", "200Mi")}, list("100m", "50Mi"), list("500m", "100Mi")},
		"a large one, small floor": {corev1.LimitRangeItem{Type: corev1.LimitTypePod, Min: list("50m", "40Mi")}, list("8", "32Gi"), list("8", "32Gi")},
	} {
		t.Run(name, func(t *testing.T) {
			ns := w.space + "-" + strings.ToLower(strings.NewReplacer(" ", "-", ",", "").Replace(name))
			w.namespace(ns, nil)
			w.must(w.Create(w.Context(), &corev1.LimitRange{
				ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "r"}, Spec: corev1.LimitRangeSpec{Limits: []corev1.LimitRangeItem{tt.item}},
			}))
			two := func(name string, annotations map[string]string) *corev1.Pod {
				p := pod(ns, name, annotations)
				p.Spec.Containers = append(p.Spec.Containers, *p.Spec.Containers[0].DeepCopy())
				p.Spec.Containers[1].Name = "second"
				for i := range p.Spec.Containers {
					p.Spec.Containers[i].Resources = corev1.ResourceRequirements{Requests: tt.requests, Limits: tt.limits}
				}
				return p
			}
			// The admission plugin may hear of the range a moment later; a Pod that asks for nothing of what it wants tells.
			w.eventually("the LimitRange is obeyed", func() error {
				p := pod(ns, "probe", nil)
				p.Spec.Containers[0].Resources.Requests = list("900", "900Gi")
				p.Spec.Containers[0].Resources.Limits = list("9000", "1800Gi")
				small := pod(ns, "probe", nil)
				small.Spec.Containers[0].Resources.Requests = list("1m", "1Ki")
				if w.Create(w.Context(), p, client.DryRunAll) != nil || w.Create(w.Context(), small, client.DryRunAll) != nil {
					return nil
				}
				return errors.New("all is allowed")
			})
			w.must(w.Create(w.Context(), two("plain", nil)))
			var marked *corev1.Pod
			w.eventually("the webhook knows of it too", func() error {
				marked = two("marked", map[string]string{v1alpha1.AnnotationPool: "xcode"})
				return w.Create(w.Context(), marked)
			})
			if cpu := marked.Spec.Containers[0].Resources.Requests[corev1.ResourceCPU]; cpu.Cmp(resource.MustParse("1")) > 0 {
				t.Errorf("a relay asks for %s processors", cpu.String())
			}
		})
	}
}
