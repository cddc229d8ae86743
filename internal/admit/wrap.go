package admit

import (
	"encoding/json"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"outrigger.dev/outrigger/api/v1alpha1"
	"outrigger.dev/outrigger/internal/handoff"
)

// entrypoint is what Tekton has all steps execute.
const entrypoint = "/tekton/bin/entrypoint"

// runs is how the relay is told what to run.
var runs = []string{"run", "--"}

func isStep(c corev1.Container) bool {
	return strings.HasPrefix(c.Name, stepPrefix) && len(c.Command) == 1 && c.Command[0] == entrypoint
}

// splitStep finds in a step's arguments "-entrypoint COMMAND -- ARG...", which is
// how Tekton ends them (orderContainers in pkg/pod/entrypoint.go of Tekton
// v1.12.0). It is not there if the step has no command: then Tekton looks up the
// image's, and its entrypoint takes it from TEKTON_PLATFORM_COMMANDS.
func splitStep(args []string) (flags, command []string, ok bool) {
	end := slices.Index(args, "--")
	if end < 2 || args[end-2] != "-entrypoint" && args[end-2] != "--entrypoint" {
		return nil, nil, false
	}
	return args[:end-2], append([]string{args[end-1]}, args[end+1:]...), true
}

func joinStep(flags, command []string) []string {
	args := append(slices.Clone(flags), "-entrypoint", command[0], "--")
	return append(args, command[1:]...)
}

// wrapCommand puts the relay before what is run.
func (c *relayed) wrapCommand() {
	if c.tekton {
		flags, command, _ := splitStep(c.Args)
		c.Args = joinStep(flags, slices.Concat([]string{handoff.BinRelay}, runs, command))
		return
	}
	c.Args = append(slices.Clone(c.Command), c.Args...)
	c.Command = append([]string{handoff.BinRelay}, runs...)
}

// unwrapCommand takes away what wrapCommand did; false: it did nothing.
func unwrapCommand(c *corev1.Container) bool {
	ours := append([]string{handoff.BinRelay}, runs...)
	if isStep(*c) {
		flags, command, ok := splitStep(c.Args)
		if !ok || len(command) <= len(ours) || !slices.Equal(command[:len(ours)], ours) {
			return false
		}
		c.Args = joinStep(flags, command[len(ours):])
		return true
	}
	if !slices.Equal(c.Command, ours) || len(c.Args) == 0 {
		return false
	}
	c.Command, c.Args = c.Args, nil
	return true
}

// before is what an earlier call left.
type before struct {
	claim     string
	wrapped   map[string]bool // nil: there was no earlier call
	images    map[string]string
	resources *corev1.ResourceRequirements
}

// unwrap makes the Pod as if no earlier call had wrapped its commands, and says
// what that call knew and cannot be seen any more.
func (r *rewrite) unwrap() before {
	var b before
	for i := range r.Spec.Containers {
		c := &r.Spec.Containers[i]
		if !slices.ContainsFunc(c.Env, isPlan) || !unwrapCommand(c) {
			continue
		}
		if b.wrapped == nil {
			b.wrapped = map[string]bool{}
		}
		b.wrapped[c.Name] = true
		c.Env = slices.DeleteFunc(c.Env, isPlan)
		c.EnvFrom = slices.DeleteFunc(c.EnvFrom, isNamed)
		c.VolumeMounts = slices.DeleteFunc(c.VolumeMounts, func(m corev1.VolumeMount) bool { return isOurVolume(m.Name) })
		eachExec(c, func(e *corev1.ExecAction) {
			if len(e.Command) > 1 && e.Command[0] == handoff.BinShell {
				e.Command = e.Command[1:]
			}
		})
	}
	if b.wrapped == nil {
		return b
	}
	r.Spec.Volumes = slices.DeleteFunc(r.Spec.Volumes, func(v corev1.Volume) bool { return isOurVolume(v.Name) })
	var request v1alpha1.MachineClaimSpec
	if json.Unmarshal([]byte(r.Annotations[v1alpha1.AnnotationRequest]), &request) == nil {
		b.resources = request.Resources
	}
	if json.Unmarshal([]byte(r.Annotations[v1alpha1.AnnotationImages]), &b.images) != nil {
		b.images = nil // somebody else wrote it: what it said is lost, and was for people only
	}
	// A Pod without the gate, or of another name, is a copy of one that has its
	// machine already: it gets a claim of its own.
	claim := r.Labels[v1alpha1.LabelClaim]
	cut := strings.LastIndexByte(claim, '-')
	if slices.Contains(r.Spec.SchedulingGates, corev1.PodSchedulingGate{Name: v1alpha1.Gate}) &&
		cut > 0 && claim[:cut] == claimBase(r.ObjectMeta, len(claim)-cut-1) {
		b.claim = claim
	}
	return b
}

func isPlan(e corev1.EnvVar) bool { return e.Name == handoff.PlanVariable }

func isNamed(s corev1.EnvFromSource) bool { return strings.HasPrefix(s.Prefix, handoff.FromPrefix) }

// named are the sources once more, under names that tell where the variables come from.
func named(sources []corev1.EnvFromSource) []corev1.EnvFromSource {
	out := make([]corev1.EnvFromSource, len(sources))
	for i, s := range sources {
		s.DeepCopyInto(&out[i])
		out[i].Prefix = handoff.FromPrefix + s.Prefix
	}
	return out
}

func isOurVolume(name string) bool {
	return name == handoff.VolumeClaim || name == handoff.VolumeState
}

// eachExec visits what the kubelet executes in the container.
func eachExec(c *corev1.Container, visit func(*corev1.ExecAction)) {
	for _, p := range []*corev1.Probe{c.LivenessProbe, c.ReadinessProbe, c.StartupProbe} {
		if p != nil && p.Exec != nil {
			visit(p.Exec)
		}
	}
	if c.Lifecycle == nil {
		return
	}
	for _, h := range []*corev1.LifecycleHandler{c.Lifecycle.PostStart, c.Lifecycle.PreStop} {
		if h != nil && h.Exec != nil {
			visit(h.Exec)
		}
	}
}

// wrap dresses the relayed containers.
func (r *rewrite) wrap() {
	if r.before.images == nil {
		r.before.images = map[string]string{}
	}
	r.record()
	for _, c := range r.relayed {
		if !c.again {
			r.before.images[c.Name] = c.Image
		}
		c.wrapCommand()
		c.EnvFrom = append(c.EnvFrom, named(c.EnvFrom)...)
		c.Env = append(c.Env, corev1.EnvVar{Name: handoff.PlanVariable, Value: c.told})
		eachExec(c.Container, func(e *corev1.ExecAction) {
			if len(e.Command) > 0 {
				e.Command = append([]string{handoff.BinShell}, e.Command...)
			}
		})
		c.VolumeMounts = append(c.VolumeMounts,
			corev1.VolumeMount{Name: handoff.VolumeClaim, MountPath: handoff.ClaimDir, ReadOnly: true},
			corev1.VolumeMount{Name: handoff.VolumeState, MountPath: handoff.StateDir})
		c.Image, c.ImagePullPolicy = r.cfg.RelayImage, r.cfg.PullPolicy
		r.secure(c)
	}
	// Readable to all, as the relay may run as anybody, and only relays mount it.
	mode := int32(0o444)
	r.Spec.Volumes = append(r.Spec.Volumes,
		corev1.Volume{Name: handoff.VolumeClaim, VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{
			SecretName: secretPrefix + r.Labels[v1alpha1.LabelClaim], DefaultMode: &mode,
		}}},
		corev1.Volume{Name: handoff.VolumeState, VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}})
}

// secretPrefix and the claim's name are the name of the Secret with the machine's login.
const secretPrefix = "outrigger-"
