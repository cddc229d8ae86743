package admit

import (
	"path"
	"regexp"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"outrigger.dev/outrigger/api/v1alpha1"
	"outrigger.dev/outrigger/internal/handoff"
)

// never are paths of the Pod that the machine does not get: tools and marks that
// only Tekton's entrypoint uses, the service account's token, the kernel's, ours.
var never = []string{
	handoff.Dir, "/tekton/run", "/tekton/bin", "/tekton/downward", "/tekton/debug", "/tekton/creds-secrets",
	"/var/run/secrets/kubernetes.io/serviceaccount", "/run/secrets/kubernetes.io/serviceaccount",
	"/proc", "/sys", "/dev",
}

// runDir is where Tekton's entrypoint keeps a step's marks. Below it, status
// holds what the step itself writes, its results and artifacts: /tekton/steps
// has links to it (stepInit in cmd/entrypoint/subcommands of Tekton v1.12.0).
var runDir = regexp.MustCompile(`^/tekton/run/[0-9]+$`)

// A mode says which way a volume is synced.
type mode int

const (
	absent mode = iota // the container does not mount it
	up                 // what changes on the machine is not brought back
	both
)

// A mount is one that the machine gets to see.
type mount struct {
	path, volume string
	sub          string // which part of the volume; "": all
	mode         mode
	live         bool // the kubelet changes the files during the run
}

// identity is what makes two containers' mounts the same files at the same place.
func (m mount) identity() [3]string { return [3]string{m.path, m.volume, m.sub} }

// mountsOf decides what of a container's mounts the machine gets, and returns the
// paths of those that it does not.
func (r *rewrite) mountsOf(c *corev1.Container) (mounts []mount, holes []string) {
	for _, vm := range c.VolumeMounts {
		at := path.Join("/", vm.MountPath)
		if within(handoff.Dir, at) || within(at, handoff.Dir) && at != "/" {
			r.problems.add("container %s: mount path %s is Outrigger's own: mount volume %s elsewhere", c.Name, handoff.Dir, vm.Name)
			continue
		}
		sub := vm.SubPath + vm.SubPathExpr
		if isStep(*c) && runDir.MatchString(at) {
			mounts = append(mounts, mount{path.Join(at, "status"), vm.Name, sub, both, false})
			continue
		}
		m := mount{at, vm.Name, sub, r.modeOf(c, vm), false}
		if m.mode == absent || slices.ContainsFunc(never, func(n string) bool { return within(n, at) }) {
			holes = append(holes, at)
			continue
		}
		m.live = isLive(r.source(vm.Name)) && sub == ""
		mounts = append(mounts, m)
	}
	return mounts, holes
}

// modeOf decides which way a mount is synced.
func (r *rewrite) modeOf(c *corev1.Container, vm corev1.VolumeMount) mode {
	source := r.source(vm.Name)
	why := ""
	switch {
	case isLive(source):
		why = "holds objects of the API server"
	case isReadOnly(source):
		why = "is read-only"
	// Of the steps' folder only links to what each step writes are read-only.
	case vm.ReadOnly && !(isStep(*c) && vm.MountPath == "/tekton/steps"):
		why = "is mounted read-only in container " + c.Name
	}
	switch said := r.set.sync[vm.Name]; {
	case said == syncNone, said == "" && source.HostPath != nil:
		return absent
	case said == syncBoth && why != "" && (isLive(source) || isReadOnly(source)):
		r.problems.add("%s%s: %s: the volume %s, so nothing can be brought back; want up or none", v1alpha1.AnnotationSyncPrefix, vm.Name, syncBoth, why)
	case said == syncUp, why != "":
		return up
	}
	return both
}

func (r *rewrite) source(volume string) corev1.VolumeSource {
	for _, v := range r.Spec.Volumes {
		if v.Name == volume {
			return v.VolumeSource
		}
	}
	return corev1.VolumeSource{} // the API server will refuse the Pod
}

func isLive(s corev1.VolumeSource) bool {
	return s.Secret != nil || s.ConfigMap != nil || s.Projected != nil || s.DownwardAPI != nil
}

func isReadOnly(s corev1.VolumeSource) bool {
	return s.Image != nil ||
		s.PersistentVolumeClaim != nil && s.PersistentVolumeClaim.ReadOnly ||
		s.CSI != nil && s.CSI.ReadOnly != nil && *s.CSI.ReadOnly ||
		s.NFS != nil && s.NFS.ReadOnly ||
		s.ISCSI != nil && s.ISCSI.ReadOnly ||
		s.AWSElasticBlockStore != nil && s.AWSElasticBlockStore.ReadOnly ||
		s.GCEPersistentDisk != nil && s.GCEPersistentDisk.ReadOnly
}

// volume returns the Pod's volume of that name, "" if there is none, and the
// names that there are. Tekton makes up the names of workspaces' volumes: in a
// TaskRun's Pod a volume is also called what its mount path below /workspace is.
func (r *rewrite) volume(name string) (volume string, known []string) {
	for _, v := range r.Spec.Volumes {
		if v.Name == name {
			return v.Name, nil
		}
		if !isOurVolume(v.Name) && !strings.HasPrefix(v.Name, "tekton-") {
			known = append(known, v.Name)
		}
	}
	if !r.isTekton() {
		return "", known
	}
	for _, c := range r.Spec.Containers {
		for _, vm := range c.VolumeMounts {
			workspace, ok := strings.CutPrefix(path.Join("/", vm.MountPath), "/workspace/")
			if !ok {
				continue
			}
			if workspace == name {
				return vm.Name, nil
			}
			known = append(slices.DeleteFunc(known, func(k string) bool { return k == vm.Name }), workspace)
		}
	}
	return "", known
}

// within tells whether p is dir or below it.
func within(dir, p string) bool {
	return p == dir || dir == "/" || strings.HasPrefix(p, dir+"/")
}
