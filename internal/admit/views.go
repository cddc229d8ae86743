package admit

import (
	"fmt"
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

// alike tells whether a mount with these modes belongs to the group.
func (g group) alike(m mount, modes []mode) bool {
	return slices.Equal(g.modes, modes) && g.mounts[0].live == m.live
}

// weight orders groups: what most containers see, and write, is first.
func (g group) weight() (w int) {
	for _, m := range g.modes {
		w += int(m)
	}
	return w
}

// views gives each relayed container its views.
func (r *rewrite) views() {
	var nested []string // all mount paths: what is below one is in no other's tree
	holes := make([][]string, len(r.relayed))
	for i, c := range r.relayed {
		c.mounts, holes[i] = r.mountsOf(c.Container)
		for _, m := range c.mounts {
			nested = append(nested, m.path)
		}
	}
	r.conflicts()
	for number, g := range r.groups() {
		id := fmt.Sprintf("v%d", number)
		for i, c := range r.relayed {
			if g.modes[i] == absent {
				continue
			}
			v := handoff.View{ID: id, Up: g.modes[i] == up, Live: g.mounts[0].live}
			for _, m := range g.mounts {
				v.Mounts = append(v.Mounts, handoff.Mount{Path: m.path, Volume: m.volume, SubPath: m.sub != ""})
			}
			v.Exclude = r.excludes(g, append(slices.Clone(nested), holes[i]...))
			c.plan.Views = append(c.plan.Views, v)
		}
	}
}

func (r *rewrite) groups() []group {
	var all []group
	seen := map[[3]string]bool{}
	for _, c := range r.relayed {
		for _, m := range c.mounts {
			if seen[m.identity()] {
				continue
			}
			seen[m.identity()] = true
			modes := make([]mode, len(r.relayed))
			for i, other := range r.relayed {
				modes[i] = other.modeAt(m)
			}
			if i := slices.IndexFunc(all, func(g group) bool { return g.alike(m, modes) }); i >= 0 {
				all[i].mounts = append(all[i].mounts, m)
			} else {
				all = append(all, group{[]mount{m}, modes})
			}
		}
	}
	for _, g := range all {
		slices.SortFunc(g.mounts, func(a, b mount) int { return strings.Compare(a.path, b.path) })
	}
	slices.SortStableFunc(all, func(a, b group) int { return b.weight() - a.weight() })
	return all
}

func (c *relayed) modeAt(m mount) mode {
	for _, own := range c.mounts {
		if own.identity() == m.identity() {
			return own.mode
		}
	}
	return absent
}

// excludes are the patterns of a view: holes where something else is mounted, and
// what the user does not want to be synced.
func (r *rewrite) excludes(g group, mounted []string) []string {
	var out []string
	add := func(dir, pattern string) {
		if p := under(dir, pattern); p != "" {
			out = append(out, p)
		}
	}
	for _, m := range g.mounts {
		if !within("/tekton", m.path) { // what all volumes are to leave out is not meant for Tekton's own
			for _, p := range r.set.exclude[""] {
				add(m.path, p)
			}
		}
		// The last pattern that matches decides, so what is said of one volume comes behind what is said of all.
		for _, p := range r.set.exclude[m.volume] {
			add(m.path, p)
		}
	}
	own := func(p string) bool {
		return slices.ContainsFunc(g.mounts, func(m mount) bool { return m.path == p })
	}
	for _, p := range slices.Compact(slices.Sorted(slices.Values(mounted))) {
		if !own(p) && slices.ContainsFunc(g.mounts, func(m mount) bool { return within(m.path, p) }) {
			out = append(out, literal(p))
		}
	}
	return out
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

// literal writes a path as a pattern that matches it alone.
func literal(p string) string {
	return strings.NewReplacer(`\`, `\\`, "*", `\*`, "?", `\?`, "[", `\[`, " ", `\ `).Replace(p)
}

// conflicts finds mounts that cannot be at the same place on the machine. Steps
// run one after the other, and each finds its own there; the containers of
// another Pod run at a time.
func (r *rewrite) conflicts() {
	if r.isTekton() {
		return
	}
	for i, a := range r.relayed {
		for _, b := range r.relayed[i+1:] {
			a.conflict(b, &r.problems)
			b.conflict(a, &r.problems)
		}
	}
}

func (c *relayed) conflict(other *relayed, p *problems) {
	for _, m := range c.mounts {
		for _, o := range other.mounts {
			if !within(m.path, o.path) || other.modeAt(m) != absent {
				continue
			}
			if m.path == o.path && c.Name > other.Name {
				continue // said the other way round
			}
			what := fmt.Sprintf("volume %s at %s", o.volume, o.path)
			if m.volume == o.volume {
				what = fmt.Sprintf("another part of it at %s", o.path)
			}
			p.add("containers %s and %s share one machine, where %s mounts volume %s at %s and %s %s: mount them at different paths, or leave one out with %s%s: none",
				c.Name, other.Name, c.Name, m.volume, m.path, other.Name, what, v1alpha1.AnnotationSyncPrefix, o.volume)
		}
	}
}
