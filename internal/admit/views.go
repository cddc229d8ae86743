package admit

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"outrigger.dev/outrigger/api/v1alpha1"
	"outrigger.dev/outrigger/internal/handoff"
)

// A group is mounts that the same containers see in the same way: a view.
type group struct {
	mounts []mount
	modes  []mode // by relayed container
}

// weight orders groups: what most containers see, and write, is first.
func (g group) weight() (w int) {
	for _, m := range g.modes {
		w += int(m)
	}
	return w
}

// views gives each relayed container its views.
func (r *rewrite) views(over func() error) {
	var nested []string // all mount paths: what is below one is in no other's tree
	for _, c := range r.relayed {
		c.mounts, c.holes = r.mountsOf(c.Container)
		c.modes = make(map[identity]mode, len(c.mounts))
		for _, m := range c.mounts {
			c.modes[m.identity()] = m.mode
			nested = append(nested, m.path)
		}
	}
	r.conflicts()
	for _, c := range r.relayed {
		r.aliases(c)
	}
	for _, c := range r.relayed { // now that no container looks at what another one has
		c.mounts = slices.DeleteFunc(c.mounts, func(m mount) bool { return c.same[m.identity()] })
		for id := range c.same {
			delete(c.modes, id)
		}
	}
	nested = sorted(nested)
	room := maxPlans
	for number, g := range r.groups() {
		id := fmt.Sprintf("v%d", number)
		for i, c := range r.relayed {
			if g.modes[i] == absent {
				continue
			}
			if over() != nil || r.problems.full() {
				return
			}
			v := handoff.View{ID: id, Up: g.modes[i] == up, Live: g.mounts[0].live}
			for _, m := range g.mounts {
				v.Mounts = append(v.Mounts, handoff.Mount{Path: m.path, Volume: m.volume, SubPath: m.sub != ""})
			}
			v.Exclude = r.excludes(c, g, nested, &room)
			if room < 0 {
				r.problems.add("container %s: its mounts and what is excluded of them make more patterns than fit into %d KiB:"+
					" exclude less, or mount less", c.Name, maxPlans>>10)
				return
			}
			c.plan.Views = append(c.plan.Views, v)
		}
	}
}

func (r *rewrite) groups() []group {
	var all []group
	at := map[string]int{} // in all, by modes and liveness
	seen := map[identity]bool{}
	for _, c := range r.relayed {
		for _, m := range c.mounts {
			if seen[m.identity()] {
				continue
			}
			seen[m.identity()] = true
			modes := make([]mode, len(r.relayed))
			key := make([]byte, len(r.relayed)+1)
			for i, other := range r.relayed {
				modes[i] = other.modes[m.identity()]
				key[i] = byte(modes[i])
			}
			if m.live {
				key[len(modes)] = 1
			}
			i, known := at[string(key)]
			if !known {
				i = len(all)
				at[string(key)] = i
				all = append(all, group{modes: modes})
			}
			all[i].mounts = append(all[i].mounts, m)
		}
	}
	for _, g := range all {
		slices.SortFunc(g.mounts, func(a, b mount) int { return strings.Compare(a.path, b.path) })
	}
	slices.SortStableFunc(all, func(a, b group) int { return b.weight() - a.weight() })
	return all
}

// excludes are the patterns of a view: holes where something else is mounted, and
// what the user does not want to be synced. It stops when there is no room.
func (r *rewrite) excludes(c *relayed, g group, nested []string, room *int) []string {
	var out []string
	add := func(pattern string) bool {
		if pattern != "" {
			out = append(out, pattern)
			*room -= len(pattern) + len(`"",`)
		}
		return *room >= 0
	}
	own := map[string]bool{}
	for _, m := range g.mounts {
		own[m.path] = true
		if !within("/tekton", m.path) { // what all volumes are to leave out is not meant for Tekton's own
			for _, p := range r.set.exclude[""] {
				if !add(under(m.path, p)) {
					return out
				}
			}
		}
		// The last pattern that matches decides, so what is said of one volume comes behind what is said of all.
		for _, place := range append([]place{{m.volume, m.path}}, c.also[m.identity()]...) {
			for _, p := range r.set.exclude[place.volume] {
				if !add(under(place.path, p)) {
					return out
				}
			}
		}
	}
	var holes []string
	for _, m := range g.mounts {
		if hasParent(own, m.path) {
			continue // what is below is below its parent
		}
		for _, list := range [][]string{nested, sorted(c.holes)} {
			for _, p := range below(list, m.path) {
				if !own[p] {
					holes = append(holes, p)
				}
			}
		}
	}
	for _, p := range sorted(holes) {
		if !add(literal(p)) {
			return out
		}
	}
	return out
}

func sorted(list []string) []string { return slices.Compact(slices.Sorted(slices.Values(list))) }

// below are the paths of a sorted list that are inside of dir.
func below(list []string, dir string) []string {
	prefix := strings.TrimSuffix(dir, "/") + "/"
	from, _ := slices.BinarySearch(list, prefix)
	if from < len(list) && list[from] == prefix { // the root itself
		from++
	}
	to := from
	for to < len(list) && strings.HasPrefix(list[to], prefix) {
		to++
	}
	return list[from:to]
}

// hasParent tells whether p is inside of one of the paths.
func hasParent(paths map[string]bool, p string) bool {
	for p != "/" {
		if p = path.Dir(p); paths[p] {
			return true
		}
	}
	return false
}

// under makes a pattern that speaks of a volume's root one that speaks of the container's.
func under(dir, pattern string) string {
	if pattern == "" || pattern[0] == '#' {
		return ""
	}
	pattern, not := strings.CutPrefix(pattern, "!")
	anchored := strings.Contains(strings.TrimRight(pattern, "/ "), "/")
	pattern = strings.TrimPrefix(pattern, "/")
	if dir = literal(dir); dir == "/" {
		dir = ""
	}
	if !anchored {
		dir += "/**"
	}
	if not {
		dir = "!" + dir
	}
	return dir + "/" + pattern
}

var escapes = strings.NewReplacer(`\`, `\\`, "*", `\*`, "?", `\?`, "[", `\[`, " ", `\ `)

// literal writes a path as a pattern that matches it alone.
func literal(p string) string { return escapes.Replace(p) }

// conflicts finds mounts that cannot be at the same place on the machine. Steps
// run one after the other, and each finds its own there; the containers of
// another Pod run at a time.
func (r *rewrite) conflicts() {
	if r.isTekton() {
		return
	}
	type owned struct {
		mount
		by *relayed
	}
	at := map[string][]owned{} // by path, the first container of each identity
	first := map[identity]bool{}
	for _, c := range r.relayed {
		for _, m := range c.mounts {
			if !first[m.identity()] {
				first[m.identity()] = true
				at[m.path] = append(at[m.path], owned{m, c})
			}
		}
	}
	for _, c := range r.relayed {
		for _, o := range c.mounts {
			for dir := o.path; ; dir = path.Dir(dir) {
				for _, m := range at[dir] {
					if r.problems.full() {
						return
					}
					if m.by != c && c.modes[m.identity()] == absent && (dir != o.path || m.by.Name < c.Name) {
						r.problems.add("%s", m.by.conflict(m.mount, c, o))
					}
				}
				if dir == "/" {
					break
				}
			}
		}
	}
}

func (c *relayed) conflict(m mount, other *relayed, o mount) string {
	what := fmt.Sprintf("volume %s at %s", o.volume, o.path)
	if m.source == o.source {
		what = fmt.Sprintf("another part of it at %s", o.path)
	}
	return fmt.Sprintf("containers %s and %s share one machine, where %s mounts volume %s at %s and %s %s:"+
		" mount them at different paths, or leave one out with %s%s: none",
		c.Name, other.Name, c.Name, m.volume, m.path, other.Name, what, v1alpha1.AnnotationSyncPrefix, o.volume)
}
