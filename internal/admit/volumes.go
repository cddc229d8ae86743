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
	source       string // what the volume is: see sourceOf
	sub          string // which part of the volume, clean; "": all
	expr         bool   // sub refers to variables
	mode         mode
	live         bool // the kubelet changes the files during the run
}

// An identity is what makes two containers' mounts the same files at the same place.
type identity struct {
	path, source, sub string
	expr              bool
}

func (m mount) identity() identity { return identity{m.path, m.source, m.sub, m.expr} }

func (m mount) subPath() subPath { return subPath{m.sub, m.expr} }

// mountsOf decides what of a container's mounts the machine gets, and returns the
// paths of those that it does not.
func (r *rewrite) mountsOf(c *corev1.Container) (mounts []mount, holes []string) {
	seen := map[string]bool{}
	for _, vm := range c.VolumeMounts {
		at := path.Join("/", vm.MountPath)
		if seen[at] {
			r.problems.add("container %s: two volumes are mounted at %s: mount one of them elsewhere", c.Name, at)
			continue
		}
		seen[at] = true
		if within(handoff.Dir, at) || within(at, handoff.Dir) && at != "/" {
			r.problems.add("container %s: mount path %s is Outrigger's own: mount volume %s elsewhere", c.Name, handoff.Dir, vm.Name)
			continue
		}
		m := mount{path: at, volume: vm.Name, source: sourceOf(vm.Name, r.source(vm.Name)), expr: strings.Contains(vm.SubPathExpr, "$(")}
		m.sub = strings.Trim(path.Clean("/"+vm.SubPath+vm.SubPathExpr), "/")
		if isStep(*c) && runDir.MatchString(at) {
			m.path, m.mode = path.Join(at, "status"), both
			mounts = append(mounts, m)
			continue
		}
		m.mode = r.modeOf(c, vm)
		if m.mode == absent || slices.ContainsFunc(never, func(n string) bool { return within(n, at) }) {
			holes = append(holes, at)
			continue
		}
		m.live = isLive(r.source(vm.Name)) && m.sub == ""
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

// within tells whether p is dir or below it.
func within(dir, p string) bool {
	return p == dir || dir == "/" || strings.HasPrefix(p, dir+"/")
}
