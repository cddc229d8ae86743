// Package hostilepod makes Pods of people who want to keep whoever looks at them busy:
// random shapes, each with much of what somebody might compare with each other. Tests of
// package admit and of its webhook look at them, and a soak at many more.
package hostilepod

import (
	"fmt"
	"math/rand/v2"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"outrigger.dev/outrigger/api/v1alpha1"
)

// Random returns a Pod that is marked for the pool. The same r makes the same Pod.
// Its text is hardly ever larger than the 3 MiB that an API server takes.
func Random(r *rand.Rand, pool string) *corev1.Pod {
	p := &maker{Rand: r, Pod: plain(pool)}
	// Each has much of a few things: of all at once only the first is looked at.
	for _, i := range r.Perm(len(shapes))[:1+r.IntN(3)] {
		shapes[i](p)
	}
	return p.Pod
}

// Named are Pods of one shape each, at so many of what it has much of.
func Named(pool string, n int) map[string]*corev1.Pod {
	all := map[string]*corev1.Pod{}
	for i, shape := range shapes {
		p := &maker{Rand: rand.New(rand.NewPCG(uint64(i), 1)), Pod: plain(pool), fixed: n}
		shape(p)
		all[names[i]] = p.Pod
	}
	return all
}

// plain is a Pod that is nothing but marked.
func plain(pool string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "p", Annotations: map[string]string{v1alpha1.AnnotationPool: pool}},
		Spec: corev1.PodSpec{
			Containers: []corev1.Container{{Name: "c", Image: "i", Command: []string{"true"}}, {Name: "d", Image: "i", Command: []string{"true"}}},
			Volumes:    []corev1.Volume{empty("v"), empty("w"), claim("x"), claim("y")},
		},
	}
}

func empty(name string) corev1.Volume {
	return corev1.Volume{Name: name, VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}}
}

// claim is a volume of the one claim that all have.
func claim(name string) corev1.Volume {
	source := &corev1.PersistentVolumeClaimVolumeSource{ClaimName: "claim"}
	return corev1.Volume{Name: name, VolumeSource: corev1.VolumeSource{PersistentVolumeClaim: source}}
}

type maker struct {
	*rand.Rand
	*corev1.Pod
	fixed int // 0: at random
}

// many is how many of something there are: at, just below and far above what is allowed.
func (p *maker) many(most int) int {
	if p.fixed > 0 {
		return min(p.fixed, most)
	}
	return 1 + p.IntN(most)
}

func (p *maker) pick(words ...string) string { return words[p.IntN(len(words))] }

var names = []string{
	"names of containers", "mounts", "mounts and excludes", "nested mounts of two", "one claim in many parts", "annotations",
	"excludes of no volume", "services", "ports", "variables", "variables that speak of resources", "files that do",
	"containers", "long names", "words", "tolerations and selectors", "steps of Tekton", "links between volumes",
}

var shapes = []func(*maker){
	func(p *maker) {
		var list []string
		for i := range p.many(16000) {
			list = append(list, fmt.Sprintf("%sx%x", p.pick("", "!", "c"), i))
		}
		p.Annotations[v1alpha1.AnnotationContainers] = strings.Join(list, p.pick(",", " "))
	},
	func(p *maker) { p.mounts(0, "v", p.many(12000), func(i int) string { return fmt.Sprint("/m", i) }) },
	func(p *maker) {
		p.mounts(0, p.pick("v", "x"), p.many(600), func(i int) string { return fmt.Sprint("/m", i) })
		p.Annotations[v1alpha1.AnnotationExclude] = strings.Repeat(p.pick("a\n", "v:b\n", "!/c/**/d\n"), p.many(6000))
	},
	func(p *maker) {
		part := p.pick("/a", "/b.c", "/*")
		nested := func(i int) string { return strings.Repeat(part, i+1) }
		n := p.many(600)
		p.mounts(0, "v", n, nested)
		p.mounts(1, p.pick("v", "w"), n, nested)
	},
	func(p *maker) {
		n := p.many(1000)
		for c := range 2 {
			p.mounts(c, p.pick("x", "y"), n, func(i int) string { return fmt.Sprintf("/p%d/%d", c, i) })
			for i := range p.Spec.Containers[c].VolumeMounts {
				m := &p.Spec.Containers[c].VolumeMounts[i]
				m.SubPath = strings.Repeat("s/", p.IntN(60)) + p.pick("", "t", "u")
				m.ReadOnly = p.IntN(2) == 0
				if p.IntN(8) == 0 {
					m.SubPath, m.SubPathExpr = "", m.SubPath+"$(A)"
				}
			}
		}
	},
	func(p *maker) {
		for i := range p.many(8000) {
			p.Annotations[fmt.Sprintf("outrigger.dev/%s%x", p.pick("x", "sync.", "field-", "keep"), i)] = p.pick("", "up", strings.Repeat("x", 300))
		}
	},
	func(p *maker) {
		var b strings.Builder
		for i := range p.many(8000) {
			fmt.Fprintf(&b, "x%x:y\n", i)
		}
		p.Annotations[v1alpha1.AnnotationExclude] = b.String()
	},
	func(p *maker) {
		var list []string
		for i := range p.many(8000) {
			list = append(list, fmt.Sprintf("%d=%s:%d", 1+i, p.pick("db", "web.ns", "[::1]", "a_b"), 1+p.IntN(70000)))
		}
		p.Annotations[v1alpha1.AnnotationServices] = strings.Join(list, ",")
	},
	func(p *maker) {
		for i := range p.many(20000) {
			c := &p.Spec.Containers[i%2]
			c.Ports = append(c.Ports, corev1.ContainerPort{ContainerPort: int32(1 + i), Protocol: corev1.Protocol(p.pick("", "TCP", "UDP"))})
		}
		p.Annotations[v1alpha1.AnnotationNetwork] = "cluster"
	},
	func(p *maker) {
		for i := range p.many(20000) {
			c := &p.Spec.Containers[i%2]
			c.Env = append(c.Env, corev1.EnvVar{Name: fmt.Sprintf("V%d", i), Value: p.pick("", "$(V0)$$", strings.Repeat("$", 40))})
			if i%16 == 0 {
				c.EnvFrom = append(c.EnvFrom, corev1.EnvFromSource{Prefix: p.pick("", "OUTRIGGER_FROM_", "P_")})
			}
		}
	},
	func(p *maker) {
		for range p.many(8000) {
			c := &p.Spec.Containers[p.IntN(2)]
			c.Env = append(c.Env, corev1.EnvVar{Name: "R", ValueFrom: &corev1.EnvVarSource{ResourceFieldRef: p.reference()}})
		}
	},
	func(p *maker) {
		var items []corev1.DownwardAPIVolumeFile
		for i := range p.many(8000) {
			items = append(items, corev1.DownwardAPIVolumeFile{Path: fmt.Sprint("f", i), ResourceFieldRef: p.reference()})
		}
		p.Spec.Volumes = append(p.Spec.Volumes, corev1.Volume{Name: "info",
			VolumeSource: corev1.VolumeSource{DownwardAPI: &corev1.DownwardAPIVolumeSource{Items: items}}})
	},
	func(p *maker) {
		for i := range p.many(3000) {
			c := corev1.Container{Name: fmt.Sprint("c", i), Image: "i", Command: []string{"x"}}
			c.VolumeMounts = []corev1.VolumeMount{{Name: p.pick("v", "w"), MountPath: p.pick("/a", "/a/b", "/", fmt.Sprint("/c", i))}}
			c.Resources.Limits = corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("1Ei")}
			p.Spec.Containers = append(p.Spec.Containers, c)
		}
	},
	func(p *maker) {
		long := strings.Repeat(p.pick("x", "é", "-", "\x1b[2J"), p.many(200000))
		switch p.IntN(6) {
		case 0:
			p.Spec.Containers[0].Name = long
		case 1:
			p.Spec.Containers[0].Image = long
		case 2:
			p.Spec.Volumes[0].Name = long
		case 3:
			p.mounts(0, "v", 2, func(i int) string { return "/" + long + fmt.Sprint(i) })
		case 4:
			p.Annotations[v1alpha1.AnnotationPool] = long
		default:
			p.Annotations["outrigger.dev/"+long] = long
		}
	},
	func(p *maker) {
		for range p.many(200000) {
			p.Spec.Containers[0].Command = append(p.Spec.Containers[0].Command, "a")
			p.Spec.Containers[0].Args = append(p.Spec.Containers[0].Args, "b")
		}
	},
	func(p *maker) {
		p.Spec.NodeSelector = map[string]string{}
		for i := range p.many(8000) {
			p.Spec.Tolerations = append(p.Spec.Tolerations, corev1.Toleration{Key: p.pick("os", "team"), Value: fmt.Sprint(i)})
			p.Spec.NodeSelector[fmt.Sprintf("%s%d", p.pick("", "outrigger.dev/"), i)] = "x"
		}
	},
	func(p *maker) {
		p.Spec.Containers = nil
		n := min(p.many(200), 200)
		for i := range n {
			c := corev1.Container{Name: fmt.Sprint("step-", i), Image: "i", Command: []string{"/tekton/bin/entrypoint"}}
			c.Args = []string{"-wait_file", "x", "-entrypoint", "sh", "--", "-c", "true"}
			for j := range n {
				c.VolumeMounts = append(c.VolumeMounts, corev1.VolumeMount{Name: fmt.Sprint("run-", j), MountPath: fmt.Sprint("/tekton/run/", j), ReadOnly: i != j})
				c.VolumeMounts = append(c.VolumeMounts, corev1.VolumeMount{Name: "v", MountPath: fmt.Sprint("/workspace/", j)})
			}
			p.Spec.Containers = append(p.Spec.Containers, c)
		}
		p.Annotations[v1alpha1.AnnotationExclude] = strings.Repeat("x\n0:y\n", p.many(500))
	},
	func(p *maker) {
		p.Spec.Volumes = nil
		for i := range p.many(2000) {
			p.Spec.Volumes = append(p.Spec.Volumes, claim(fmt.Sprint("v", i)))
		}
		n := min(len(p.Spec.Volumes), 500)
		for c := range 2 {
			p.mounts(c, "v0", n, func(i int) string { return strings.Repeat("/x", i%60) + fmt.Sprint("/", i) })
			for i := range n {
				p.Spec.Containers[c].VolumeMounts[i].Name = fmt.Sprint("v", i)
			}
		}
	},
}

func (p *maker) mounts(container int, volume string, n int, at func(int) string) {
	c := &p.Spec.Containers[container]
	for i := range n {
		c.VolumeMounts = append(c.VolumeMounts, corev1.VolumeMount{Name: volume, MountPath: at(i), ReadOnly: p.IntN(4) == 0})
	}
}

func (p *maker) reference() *corev1.ResourceFieldSelector {
	return &corev1.ResourceFieldSelector{
		ContainerName: p.pick("c", "d", "", "nobody"), Resource: p.pick("limits.cpu", "limits.memory", "requests.memory", "limits.hugepages-2Mi", "x"),
		Divisor: resource.MustParse(p.pick("0", "1", "1m", "1Gi", "1n", "-1")),
	}
}
