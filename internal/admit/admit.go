// Package admit decides how a Pod is rewritten so that its containers run on a
// machine.
//
// [Mutate] is the whole of it: from a Pod, its namespace and the pools that
// there are to the Pod as it is to be, or the reason why it may not be. It looks
// at nothing else and has no effects; package webhook asks it for the API
// server, and golden files hold it to Pods that Tekton made.
//
// These hold for every Pod:
//
//   - a Pod that is not [Marked] is not changed;
//   - Mutate of its own result changes nothing, and of its own result to which
//     other webhooks added something changes only what follows from that;
//   - what satisfied the restricted Pod Security profile still does;
//   - a container that stays on Linux is not touched.
package admit

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"outrigger.dev/outrigger/api/v1alpha1"
	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/handoff"
)

// A Pool is what is to be known of a MachinePool.
type Pool struct {
	Name       string
	OS, Arch   string // in Go's words
	Labels     map[string]string
	Namespaces labels.Selector // of those whose Pods may use it; nil: all
	Root       bool            // commands run as root, and Pods that must not are to be refused
	// MaxPriority is the highest that a Pod may ask for; nil: 0 counts whatever it asks for.
	MaxPriority *int32
}

// A Config says what relays are like. Only RelayImage has no default.
type Config struct {
	RelayImage string
	PullPolicy corev1.PullPolicy   // "": IfNotPresent
	Requests   corev1.ResourceList // nil: 10m of CPU and 32Mi of memory
	Limits     corev1.ResourceList // nil: 256Mi of memory; those that the user did not set are not, but for memory
}

func (c Config) withDefaults() Config {
	if c.PullPolicy == "" {
		c.PullPolicy = corev1.PullIfNotPresent
	}
	if c.Requests == nil {
		c.Requests = corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("10m"), corev1.ResourceMemory: resource.MustParse("32Mi")}
	}
	if c.Limits == nil {
		c.Limits = corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("256Mi")}
	}
	return c
}

// Mutate returns the Pod as it is to be. Ns is its namespace, random returns a few
// of a-z and 0-9, for the claim's name. The error is what the user is told, in one
// line: all that is wrong with the Pod, as far as it fits; it is [ErrPool] if the pools or
// the namespace are a part of it. A Pod that is not marked is returned as it is.
//
// Whatever the Pod is like, the work and the memory that it takes are in proportion
// to its size. It ends when over says so with an error, as a context's Err does.
func Mutate(
	over func() error, pod *corev1.Pod, ns Namespace, pools []Pool, cfg Config, random func() string,
) (*corev1.Pod, error) {
	if !Marked(pod) {
		return pod, nil
	}
	r := &rewrite{Pod: pod.DeepCopy(), ns: ns, cfg: cfg.withDefaults()}
	r.before = r.unwrap() // what an earlier call added counts for nothing
	r.limits()
	if err := r.denial(); err != nil {
		return nil, err
	}
	for _, step := range []func(){
		r.index,
		func() { r.choosePool(pools) },
		r.settings,
		r.choose,
		func() { r.plan(over) },
	} {
		if err := over(); err != nil {
			return nil, fault.New(fault.TimedOut, "pod %s: %w", quote(pod.Name), err)
		}
		step()
	}
	if err := r.denial(); err != nil {
		return nil, err
	}
	r.names(random)
	r.wrap()
	r.place()
	return r.Pod, nil
}

// A rewrite is a Pod on its way.
type rewrite struct {
	*corev1.Pod
	ns       Namespace
	cfg      Config
	known    index
	before   before // what an earlier call did to this Pod
	pool     Pool
	set      settings
	relayed  []*relayed
	problems problems
	// poolProblem: what the pools and the namespace are is among them.
	poolProblem bool
}

// A relayed container is one whose command runs on the machine.
type relayed struct {
	*corev1.Container
	tekton bool
	again  bool // an earlier call has dressed it already
	mounts []mount
	modes  map[identity]mode    // of the mounts
	holes  []string             // paths of mounts that the machine does not get
	same   map[identity]bool    // mounts that are not synced, as another has their files
	also   map[identity][]place // of a mount: where others have a part of its files
	plan   handoff.Plan
	told   string // the plan, as it is handed over
}

// names gives the Pod its claim.
func (r *rewrite) names(random func() string) {
	name := r.before.claim
	if name == "" {
		suffix := random()
		name = claimBase(r.ObjectMeta, len(suffix)) + "-" + suffix
	}
	if r.Labels == nil {
		r.Labels = map[string]string{}
	}
	r.Labels[v1alpha1.LabelClaim] = name
}

// place makes the Pod one of a Linux node that waits for its machine.
func (r *rewrite) place() {
	if r.Annotations == nil {
		r.Annotations = map[string]string{}
	}
	r.Annotations[v1alpha1.AnnotationPool] = r.pool.Name
	r.Annotations[v1alpha1.AnnotationRequest] = encode(r.request())
	r.Annotations[v1alpha1.AnnotationImages] = encode(r.before.images)
	delete(r.Annotations, v1alpha1.AnnotationMachine) // of a Pod that this one was copied from
	if gate := (corev1.PodSchedulingGate{Name: v1alpha1.Gate}); !slices.Contains(r.Spec.SchedulingGates, gate) {
		r.Spec.SchedulingGates = append(r.Spec.SchedulingGates, gate)
	}
	r.onLinux()
}

func (r *rewrite) request() v1alpha1.MachineClaimSpec {
	spec := v1alpha1.MachineClaimSpec{Pool: r.pool.Name, Image: r.set.image, Priority: r.pool.served(r.set.priority), Resources: r.before.resources}
	if r.set.keep > 0 {
		spec.Keep = &metav1.Duration{Duration: r.set.keep}
	}
	return spec
}
