package admit_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"outrigger.dev/outrigger/internal/handoff"
)

// TestSame: mounts of one volume are one set of files, wherever one holds what another one has.
func TestSame(t *testing.T) {
	type plan struct {
		mounts []string
		same   []handoff.Same
	}
	for name, tt := range map[string]struct {
		mounts string
		want   plan
	}{
		"two claims": {"{name: x, mountPath: /a}, {name: other, mountPath: /b}", plan{[]string{"/a", "/b"}, nil}},
		"one claim by two names": {"{name: x, mountPath: /b}, {name: z, mountPath: /a}",
			plan{[]string{"/a"}, []handoff.Same{{Path: "/b", To: "/a"}}}},
		"a part of it": {"{name: x, mountPath: /c, subPath: p/./q/}, {name: z, mountPath: /s}",
			plan{[]string{"/s"}, []handoff.Same{{Path: "/c", To: "/s/p/q"}}}},
		"a part of a part, written otherwise": {"{name: x, mountPath: /c, subPath: p/q}, {name: x, mountPath: /s, subPath: p/}",
			plan{[]string{"/s"}, []handoff.Same{{Path: "/c", To: "/s/q"}}}},
		"two parts of which none has the other": {"{name: x, mountPath: /c, subPath: p}, {name: x, mountPath: /s, subPath: pq}",
			plan{[]string{"/c", "/s"}, nil}},
		"a part that a variable names": {"{name: x, mountPath: /c, subPathExpr: p/$(V)}, {name: z, mountPath: /s}",
			plan{[]string{"/s"}, []handoff.Same{{Path: "/c", To: "/s/p/$(V)", Expr: true}}}},
		"the same part that a variable names": {"{name: x, mountPath: /c, subPathExpr: $(V)}, {name: z, mountPath: /s, subPathExpr: $(V)}",
			plan{[]string{"/c"}, []handoff.Same{{Path: "/s", To: "/c"}}}},
		"a part inside of the whole, elsewhere": {"{name: x, mountPath: /s}, {name: x, mountPath: /s/deep, subPath: p}",
			plan{[]string{"/s"}, []handoff.Same{{Path: "/s/deep", To: "/s/p"}}}},
		"a part where it is anyway":    {"{name: x, mountPath: /s}, {name: x, mountPath: /s/p, subPath: p}", plan{[]string{"/s"}, nil}},
		"the whole inside of its part": {"{name: x, mountPath: /s, subPath: p}, {name: x, mountPath: /s/all}", plan{[]string{"/s", "/s/all"}, nil}},
		"a read-only one beside one that is written": {"{name: x, mountPath: /a, readOnly: true}, {name: x, mountPath: /b}",
			plan{[]string{"/b"}, []handoff.Same{{Path: "/a", To: "/b"}}}},
		"a part that is written of one that is not": {"{name: x, mountPath: /a, readOnly: true}, {name: x, mountPath: /out, subPath: out}",
			plan{[]string{"/a", "/out"}, []handoff.Same{{Path: "/a/out", To: "/out"}}}},
		"something else inside": {"{name: x, mountPath: /a}, {name: z, mountPath: /b}, {name: other, mountPath: /b/c}",
			plan{[]string{"/a", "/b", "/b/c"}, nil}},
		"one volume of the Pod's own": {"{name: room, mountPath: /a}, {name: room, mountPath: /b, subPath: c}",
			plan{[]string{"/a"}, []handoff.Same{{Path: "/b", To: "/a/c"}}}},
		"a Secret": {"{name: s, mountPath: /a}, {name: s, mountPath: /b}", plan{[]string{"/a", "/b"}, nil}},
	} {
		pod := parse(t, `
metadata: {name: p, annotations: {outrigger.dev/pool: xcode}}
spec:
  volumes:
    - {name: x, persistentVolumeClaim: {claimName: c}}
    - {name: z, persistentVolumeClaim: {claimName: c}}
    - {name: other, persistentVolumeClaim: {claimName: d}}
    - {name: room, emptyDir: {}}
    - {name: s, secret: {secretName: s}}
  containers:
    - {name: a, image: a, command: [a], volumeMounts: [`+tt.mounts+`]}
`)
		out, err := mutate(pod)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		got := plan{same: plans(t, out)["a"].Same}
		seen := map[string]bool{}
		for _, v := range plans(t, out)["a"].Views {
			for _, m := range v.Mounts {
				seen[m.Path] = true
			}
		}
		for _, path := range []string{"/a", "/b", "/b/c", "/c", "/out", "/s", "/s/all", "/s/deep", "/s/p"} {
			if seen[path] {
				got.mounts = append(got.mounts, path)
			}
		}
		if diff := cmp.Diff(tt.want, got, cmp.AllowUnexported(plan{})); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// TestSameOfTwoContainers: at one path of the machine is one thing, for all who are there at a time.
func TestSameOfTwoContainers(t *testing.T) {
	const pod = `
metadata: {name: p, annotations: {outrigger.dev/pool: xcode, outrigger.dev/exclude: "z:*.o"}}
spec:
  volumes: [{name: x, persistentVolumeClaim: {claimName: c}}, {name: z, persistentVolumeClaim: {claimName: c}}]
  containers:
    - {name: a, image: a, command: [a], volumeMounts: [{name: x, mountPath: /a}, {name: z, mountPath: /b}]}
    - {name: b, image: b, command: [b], volumeMounts: [MOUNTS]}
`
	for mounts, want := range map[string][]handoff.Same{
		"{name: x, mountPath: /a}, {name: z, mountPath: /b}": {{Path: "/b", To: "/a"}},
		"{name: z, mountPath: /a}, {name: x, mountPath: /b}": {{Path: "/b", To: "/a"}},
		"{name: x, mountPath: /a}":                           {{Path: "/b", To: "/a"}},
		"{name: z, mountPath: /b}":                           nil,
		"{name: x, mountPath: /other}":                       {{Path: "/b", To: "/a"}},
	} {
		out, err := mutate(parse(t, replaceOne(pod, "MOUNTS", mounts)))
		if err != nil {
			t.Errorf("%s: %v", mounts, err)
			continue
		}
		a := plans(t, out)["a"]
		if diff := cmp.Diff(want, a.Same); diff != "" {
			t.Errorf("%s (-want +got):\n%s", mounts, diff)
		}
		if exclude := a.Views[0].Exclude; want != nil && !cmp.Equal(exclude, []string{"/a/**/*.o"}) {
			t.Errorf("%s: what is excluded of /b is %q of /a", mounts, exclude)
		}
	}
}
