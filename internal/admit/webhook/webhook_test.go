//go:build linux

package webhook_test

import (
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"outrigger.dev/outrigger/api/v1alpha1"
	"outrigger.dev/outrigger/internal/handoff"
)

func TestMarkedPodsAreRewritten(t *testing.T) {
	w := newWorld(t)
	w.pool("xcode", "darwin", "arm64", nil)
	w.start()

	named := pod(w.space, "named", map[string]string{v1alpha1.AnnotationPool: "xcode"})
	generated := pod(w.space, "", map[string]string{v1alpha1.AnnotationPool: "xcode"})
	generated.GenerateName = "generated-"
	selecting := pod(w.space, "selecting", nil)
	selecting.Spec.NodeSelector = map[string]string{corev1.LabelOSStable: "darwin"}
	for name, p := range map[string]*corev1.Pod{"named": named, "generated": generated, "selecting": selecting} {
		w.must(w.Create(w.Context(), p))
		c := p.Spec.Containers[0]
		if c.Image != "relay:test" || !slices.Equal(c.Command, []string{handoff.BinRelay, "run", "--"}) || !slices.Equal(c.Args, []string{"sh", "-c", "make test"}) {
			t.Errorf("%s: %s %q %q", name, c.Image, c.Command, c.Args)
		}
		if !slices.Contains(p.Spec.SchedulingGates, corev1.PodSchedulingGate{Name: v1alpha1.Gate}) {
			t.Errorf("%s: gates %v", name, p.Spec.SchedulingGates)
		}
		if claim := p.Labels[v1alpha1.LabelClaim]; !strings.HasPrefix(claim, name+"-") || len(claim) != len(name)+6 {
			t.Errorf("%s: claim %q", name, claim)
		}
		if got := p.Spec.NodeSelector[corev1.LabelOSStable]; got != "linux" {
			t.Errorf("%s: nodeSelector %q", name, got)
		}
		if got := c.Env[0]; got.Name != "A" || got.Value != "b" {
			t.Errorf("%s: env %v", name, c.Env)
		}
	}
}

func TestOthersAreNotAsked(t *testing.T) {
	w := newWorld(t)
	w.pool("xcode", "darwin", "arm64", nil)
	r, _ := w.start()
	plain := pod(w.space, "plain", map[string]string{v1alpha1.AnnotationKeep: "not a duration", "other": "x"})
	w.must(w.Create(w.Context(), plain))
	if plain.Spec.Containers[0].Image != "busybox:1" || len(plain.Spec.SchedulingGates) > 0 {
		t.Errorf("changed: %+v", plain.Spec)
	}

	r.stop()
	w.must(w.Create(w.Context(), pod(w.space, "down", nil)))
	// The cluster's own Pods start whatever they say.
	w.must(w.Create(w.Context(), pod(metav1.NamespaceSystem, "own", map[string]string{v1alpha1.AnnotationPool: "xcode"})))
	w.must(w.Create(w.Context(), pod(system, "own", map[string]string{v1alpha1.AnnotationPool: "xcode"})))
}

func TestDenials(t *testing.T) {
	w := newWorld(t)
	w.namespace(w.space+"-ios", map[string]string{"team": "ios"})
	w.pool("xcode", "darwin", "arm64", nil)
	w.pool("signing", "darwin", "arm64", func(p *v1alpha1.MachinePool) {
		p.Spec.AllowedNamespaces = &metav1.LabelSelector{MatchLabels: map[string]string{"team": "ios"}}
	})
	w.start()
	for name, tt := range map[string]struct {
		space  string
		change func(*corev1.Pod)
		want   string // "": admitted
	}{
		"unknown pool": {w.space, func(p *corev1.Pod) { p.Annotations[v1alpha1.AnnotationPool] = "xcodee" },
			`outrigger.dev/pool: there is no pool "xcodee", did you mean xcode?`},
		"pool of others": {w.space, func(p *corev1.Pod) { p.Annotations[v1alpha1.AnnotationPool] = "signing" },
			`pool "signing" may not be used in namespace ` + w.space + `, which may use xcode (darwin/arm64)`},
		"pool of its own": {w.space + "-ios", func(p *corev1.Pod) { p.Annotations[v1alpha1.AnnotationPool] = "signing" }, ""},
		"unknown annotation": {w.space, func(p *corev1.Pod) { p.Annotations["outrigger.dev/kepe"] = "1h" },
			"outrigger.dev/kepe: there is no such annotation, did you mean outrigger.dev/keep?"},
		"unknown annotation alone": {w.space, func(p *corev1.Pod) { p.Annotations = map[string]string{"outrigger.dev/poool": "xcode"} },
			"outrigger.dev/poool: there is no such annotation, did you mean outrigger.dev/pool?"},
		"wrong value": {w.space, func(p *corev1.Pod) { p.Annotations[v1alpha1.AnnotationKeep] = "long" }, `outrigger.dev/keep: "long" is no duration`},
		"no command": {w.space, func(p *corev1.Pod) { p.Spec.Containers[0].Command = nil },
			"container main has no command, and the ENTRYPOINT of its image is not on the machine"},
		"two at once": {w.space, func(p *corev1.Pod) {
			p.Annotations[v1alpha1.AnnotationKeep], p.Annotations[v1alpha1.AnnotationNetwork] = "long", "all"
		}, "is no duration to keep a machine for, want one such as 30m or 2h, at most 24h; outrigger.dev/network"},
	} {
		p := pod(tt.space, strings.ReplaceAll(name, " ", "-"), map[string]string{v1alpha1.AnnotationPool: "xcode"})
		tt.change(p)
		err := w.Create(w.Context(), p)
		switch {
		case tt.want == "":
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
		case err == nil:
			t.Errorf("%s: admitted", name)
		case !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), "Mend what is named") || strings.Contains(err.Error(), "\n"):
			t.Errorf("%s:\n%v\nwant: %s", name, err, tt.want)
		}
	}
}

func TestDryRunLeavesNothing(t *testing.T) {
	w := newWorld(t)
	w.pool("xcode", "darwin", "arm64", nil)
	w.start()
	p := pod(w.space, "dry", map[string]string{v1alpha1.AnnotationPool: "xcode"})
	w.must(w.Create(w.Context(), p, client.DryRunAll))
	if p.Labels[v1alpha1.LabelClaim] == "" {
		t.Errorf("a dry run does not show what would become of the Pod: %+v", p.Labels)
	}
	for _, list := range []client.ObjectList{&corev1.PodList{}, &corev1.SecretList{}, &v1alpha1.MachineClaimList{}} {
		w.must(w.List(w.Context(), list, client.InNamespace(w.space)))
		if n := metaLen(list); n != 0 {
			t.Errorf("%d of %T", n, list)
		}
	}
}
