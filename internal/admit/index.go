package admit

import (
	"path"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"outrigger.dev/outrigger/internal/config/strict"
)

// An index is what is looked up in the Pod once for each of many things.
type index struct {
	tekton     bool // it is a TaskRun's
	volumes    map[string]corev1.VolumeSource
	workspaces map[string]string // the volumes, by what their mount paths are below /workspace
	names      []string          // by which a user may call volumes
}

// index makes the Pod's.
func (r *rewrite) index() {
	x := index{
		tekton:     slices.ContainsFunc(r.Spec.Containers, isStep),
		volumes:    make(map[string]corev1.VolumeSource, len(r.Spec.Volumes)),
		workspaces: map[string]string{},
	}
	better := map[string]bool{} // volumes that are workspaces, by whose names people know them
	for i := range r.Spec.Containers {
		if !x.tekton {
			break
		}
		for _, vm := range r.Spec.Containers[i].VolumeMounts {
			workspace, ok := strings.CutPrefix(path.Join("/", vm.MountPath), "/workspace/")
			if !ok {
				continue
			}
			better[vm.Name] = true
			if _, known := x.workspaces[workspace]; !known {
				x.workspaces[workspace] = vm.Name
				x.names = append(x.names, workspace)
			}
		}
	}
	for _, v := range r.Spec.Volumes {
		if _, twice := x.volumes[v.Name]; twice {
			continue // the API server will refuse the Pod
		}
		x.volumes[v.Name] = v.VolumeSource
		if !better[v.Name] && !isOurVolume(v.Name) && !strings.HasPrefix(v.Name, "tekton-") {
			x.names = append(x.names, v.Name)
		}
	}
	r.known = x
}

// isTekton tells whether the Pod is a TaskRun's.
func (r *rewrite) isTekton() bool { return r.known.tekton }

// source is a volume's; the zero value if there is no such volume: the API server will refuse the Pod.
func (r *rewrite) source(volume string) corev1.VolumeSource { return r.known.volumes[volume] }

// volume returns the Pod's volume of that name, "" if there is none. Tekton makes up
// the names of workspaces' volumes: in a TaskRun's Pod a volume is also called what its
// mount path below /workspace is.
func (r *rewrite) volume(name string) string {
	if _, ok := r.known.volumes[name]; ok {
		return name
	}
	return r.known.workspaces[name]
}

// nearest is [strict.Nearest] among so many words as a person may have made up.
func nearest(word string, known []string) (string, bool) {
	const most = 200
	return strict.Nearest(word, known[:min(len(known), most)])
}
