package admit

import (
	"cmp"
	"path"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"outrigger.dev/outrigger/internal/handoff"
)

// A place is where a volume's files are in the container.
type place struct{ volume, path string }

// sourceOf names what a volume's files are. Volumes of one claim are one.
func sourceOf(name string, s corev1.VolumeSource) string {
	switch {
	case s.PersistentVolumeClaim != nil:
		return "claim " + s.PersistentVolumeClaim.ClaimName
	case s.HostPath != nil:
		return "host " + path.Clean(s.HostPath.Path)
	case s.NFS != nil:
		return "nfs " + s.NFS.Server + ":" + path.Clean(s.NFS.Path)
	}
	return "volume " + name
}

// aliases finds the container's mounts whose files another mount of it has too, as if it was
// another part of the same volume. On the machine these are one set of files, as they are on a
// node: the mount that has more of them is synced, the other one is a link into it.
func (r *rewrite) aliases(c *relayed) {
	c.also = map[identity][]place{}
	bySource := map[string][]mount{}
	paths := slices.Clone(c.holes)
	for _, m := range c.mounts {
		paths = append(paths, m.path)
		if !m.live {
			bySource[m.source] = append(bySource[m.source], m)
		}
	}
	paths = sorted(paths)
	c.same = map[identity]bool{}
	for _, mounts := range bySource {
		if len(mounts) < 2 {
			continue
		}
		kept := map[subPath]mount{}
		slices.SortFunc(mounts, func(a, b mount) int {
			return cmp.Or(cmp.Compare(b.mode, a.mode), len(a.sub)-len(b.sub), strings.Compare(a.path, b.path))
		})
		for _, m := range mounts {
			whole, ok := holding(kept, m.subPath())
			if ok && len(below(paths, m.path)) == 0 && !within(m.path, whole.path) && r.everywhere(c, m, whole) {
				to := path.Join(whole.path, strings.TrimPrefix(m.sub, whole.sub))
				if to != m.path {
					c.plan.Same = append(c.plan.Same, handoff.Same{Path: m.path, To: to, Expr: m.expr && m.sub != whole.sub})
				}
				c.also[whole.identity()] = append(c.also[whole.identity()], place{m.volume, to})
				c.same[m.identity()] = true
				continue
			}
			if _, taken := kept[m.subPath()]; !taken {
				kept[m.subPath()] = m
			}
		}
		c.parts(kept, paths)
	}
	slices.SortFunc(c.plan.Same, func(a, b handoff.Same) int { return strings.Compare(a.Path, b.Path) })
}

// parts finds, in mounts whose changes do not come back, what another mount has whose changes do.
func (c *relayed) parts(kept map[subPath]mount, paths []string) {
	for _, m := range kept {
		if m.mode != both || m.expr {
			continue
		}
		around, ok := holding(kept, m.subPath().parent())
		if !ok || around.mode == both || m.sub == "" {
			continue
		}
		at := path.Join(around.path, strings.TrimPrefix(m.sub, around.sub))
		if within(at, m.path) || within(m.path, at) || len(below(paths, at)) > 0 {
			continue
		}
		c.plan.Same = append(c.plan.Same, handoff.Same{Path: at, To: m.path})
		c.holes = append(c.holes, at)
	}
}

// everywhere tells whether all containers at the same time see m as this one does, so that there is
// one thing to be at its path on the machine.
func (r *rewrite) everywhere(c *relayed, m, whole mount) bool {
	if r.isTekton() {
		return true
	}
	for _, other := range r.relayed {
		mode, has := other.modes[m.identity()]
		if !has || other == c {
			continue
		}
		if mode != m.mode || other.modes[whole.identity()] != whole.mode {
			return false
		}
	}
	return true
}

// A subPath is a part of a volume. With expr it refers to variables.
type subPath struct {
	sub  string
	expr bool
}

// parent is the part that this one is in; of the whole volume itself.
func (s subPath) parent() subPath {
	dir := path.Dir(s.sub)
	if dir == "." {
		dir = ""
	}
	return subPath{dir, s.expr && strings.Contains(dir, "$(")}
}

// holding returns the mount that has a part of the volume: of it or of what it is in.
func holding(mounts map[subPath]mount, s subPath) (mount, bool) {
	for {
		if m, ok := mounts[s]; ok {
			return m, true
		}
		if s.sub == "" {
			return mount{}, false
		}
		s = s.parent()
	}
}
