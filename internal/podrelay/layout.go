package podrelay

import (
	"path"
	"regexp"
	"slices"
	"strings"

	"outrigger.dev/outrigger/internal/handoff"
	"outrigger.dev/outrigger/internal/relay"
)

// Folders of the lease's work folder beside those of the views.
const (
	atDir   = ".at"     // what /tekton is on the machine: a link for each mount in it
	dirsDir = ".dirs"   // working folders that no view holds
	cwdDir  = ".cwd"    // where a command starts that says nothing about it
	tekton  = "/tekton" // Tekton's own folder
	// stepsDir has a link for each step, to its status.
	stepsDir = "/tekton/steps"
)

// never are paths whose content stays in the Pod, whatever the plan says: our
// own things, Tekton's tools, the service account's token, the kernel's.
var never = []string{
	handoff.Dir, "/tekton/run", "/tekton/bin", "/tekton/downward",
	"/var/run/secrets/kubernetes.io/serviceaccount", "/run/secrets/kubernetes.io/serviceaccount",
	"/proc", "/sys", "/dev",
}

// runStatus is what Tekton's entrypoint keeps of a step in its folder below
// /tekton/run for other steps and for the step itself: its results, artifacts, exit
// code. /tekton/steps has links to it.
var runStatus = regexp.MustCompile(`^/tekton/run/[0-9]+/status(/|$)`)

// theirs are folders that every machine has: a volume that a container mounts
// there is for the room that it gives, and on the machine its own do.
var theirs = []string{"/tmp", "/var/tmp", "/dev/shm", "/run", "/var/run"}

// A found mount is one that is in the container.
type found struct {
	handoff.Mount
	local string // Path without symbolic links, and without the leading slash
	file  bool
	same  string // where its files are on the machine, if they are another view's
}

// A seen view is one as the container has it.
type seen struct {
	handoff.View
	mounts []found
}

// wanted tells whether a mount path may be on the machine at all.
func wanted(p string) bool {
	return runStatus.MatchString(p) || !slices.ContainsFunc(never, func(n string) bool { return within(n, p) }) && !slices.Contains(theirs, p)
}

// within tells whether p is dir or below it.
func within(dir, p string) bool {
	return p == dir || dir == "/" || strings.HasPrefix(p, dir+"/")
}

// A syncPlan says how a view is synced.
type syncPlan struct {
	exclude []string
	fixed   []string
	probe   string // a folder below the root in which something may be made
}

// layout decides what of the container's root belongs to view v: its mounts,
// without those of other views inside of them.
func layout(v seen, all []seen) syncPlan {
	var p syncPlan
	dirs := map[string]bool{} // that are there only for what is below them
	shown := map[string]bool{}
	fix := map[string]bool{}
	for _, m := range v.mounts {
		for _, dir := range prefixes(m.local) {
			fix[dir] = true
			if dir != m.local && !inMount(v, dir) {
				dirs[dir] = true
			}
			if !inMount(v, dir) || isMount(v, dir) {
				shown[dir] = true
			}
		}
		// Other steps' status is read-only, whatever the view is.
		if !m.file && (p.probe == "" || runStatus.MatchString("/"+p.probe)) {
			p.probe = m.local
		}
	}
	p.exclude = []string{"/*"}
	for _, dir := range sorted(dirs) {
		p.exclude = append(p.exclude, "/"+literal(dir)+"/*")
	}
	for _, dir := range sorted(shown) {
		p.exclude = append(p.exclude, "!/"+literal(dir))
	}
	p.exclude = append(p.exclude, v.Exclude...)
	for _, other := range all {
		if other.ID == v.ID {
			continue
		}
		for _, m := range other.mounts {
			if !inMount(v, m.local) {
				continue
			}
			p.exclude = append(p.exclude, "/"+literal(m.local))
			for _, dir := range prefixes(m.local) {
				fix[dir] = true
			}
		}
	}
	for _, m := range v.mounts {
		if !m.file {
			p.exclude = append(p.exclude, "/"+literal(m.local)+"/lost+found")
		}
	}
	for _, n := range never {
		if !slices.ContainsFunc(v.mounts, func(m found) bool { return within(n, "/"+m.local) }) {
			p.exclude = append(p.exclude, n)
		}
	}
	p.fixed = sorted(fix)
	return p
}

// prefixes returns p's parents and p, outermost first.
func prefixes(p string) []string {
	var all []string
	for i := range len(p) {
		if p[i] == '/' {
			all = append(all, p[:i])
		}
	}
	return append(all, p)
}

// inMount tells whether p is one of the view's mounts or inside of one.
func inMount(v seen, p string) bool {
	return slices.ContainsFunc(v.mounts, func(m found) bool { return within(m.local, p) })
}

func isMount(v seen, p string) bool {
	return slices.ContainsFunc(v.mounts, func(m found) bool { return m.local == p })
}

// literal writes a path as a pattern that matches it alone.
func literal(p string) string {
	var b strings.Builder
	for i := range len(p) {
		if strings.IndexByte(`*?[\ `, p[i]) >= 0 {
			b.WriteByte('\\')
		}
		b.WriteByte(p[i])
	}
	return b.String()
}

func sorted(set map[string]bool) []string {
	var all []string
	for s := range set {
		all = append(all, s)
	}
	slices.Sort(all)
	return all
}

// links decides how the mounts appear on the machine: each under its own path,
// those below /tekton together under one, which costs becoming root only once,
// and a mount inside of another view's mount inside of that.
func links(all []seen, isTekton bool) []relay.Link {
	var out []relay.Link
	together := false
	for _, v := range all {
		for _, m := range v.mounts {
			target := path.Join(v.ID, m.local)
			isSame := m.same != ""
			if isSame {
				target = m.same
			}
			outer, around := holder(all, m)
			switch {
			case outer == nil && isTekton && strings.HasPrefix(m.Path, tekton+"/"):
				together = true
				out = append(out, relay.Link{Path: path.Join(atDir, m.Path), Target: target, Inside: true})
			case outer == nil:
				out = append(out, relay.Link{Path: m.Path, Target: target, Late: isSame, Make: isSame && !m.file})
			case outer.ID != v.ID:
				out = append(out, relay.Link{Path: path.Join(outer.ID, around.local, strings.TrimPrefix(m.Path, around.Path)), Target: target, Inside: true, Late: true, Make: isSame && !m.file})
			}
		}
	}
	if together {
		out = append(out, relay.Link{Path: tekton, Target: path.Join(atDir, tekton), Make: true})
	}
	return out
}

// holder returns the innermost mount around m, and its view; nil if there is none.
func holder(all []seen, m found) (*seen, found) {
	var view *seen
	var best found
	for i := range all {
		for _, o := range all[i].mounts {
			if o.Path != m.Path && within(o.Path, m.Path) && len(o.Path) > len(best.Path) {
				view, best = &all[i], o
			}
		}
	}
	return view, best
}

// tangled returns a mount that is inside of another view's mount which is inside
// of a mount of its own view: one tree cannot have such a hole. "": there is none.
func tangled(all []seen) string {
	for _, v := range all {
		for _, m := range v.mounts {
			if outer, around := holder(all, m); outer != nil && outer.ID != v.ID && inMount(v, around.local) {
				return m.Path
			}
		}
	}
	return ""
}

// inViews tells whether a path of the container is one that appears on the machine.
func inViews(all []seen, p string) bool {
	return slices.ContainsFunc(all, func(v seen) bool {
		return slices.ContainsFunc(v.mounts, func(m found) bool { return within(m.Path, p) })
	})
}
