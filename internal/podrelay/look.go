package podrelay

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/handoff"
)

// look finds the plan's mounts in the container.
func (c Container) look(plan handoff.Plan) ([]seen, error) {
	views := slices.Clone(plan.Views)
	if plan.TerminationLog != "" {
		// Its own view, since each container has its own file under the same path.
		views = append(views, handoff.View{ID: terminationView(plan), Mounts: []handoff.Mount{{Path: plan.TerminationLog}}})
	}
	var all []seen
	for _, v := range views {
		s := seen{View: v}
		for _, m := range v.Mounts {
			if !wanted(m.Path) && m.Path != plan.TerminationLog {
				continue
			}
			f, err := c.find(m)
			if errors.Is(err, fs.ErrNotExist) {
				continue // optional, and not there
			}
			if err != nil {
				return nil, fault.New(fault.LocalFile, "mount %s: %w", m.Path, err)
			}
			s.mounts = append(s.mounts, f)
		}
		if len(s.mounts) > 0 {
			all = append(all, s)
		}
	}
	if s := c.same(plan.Same, all); len(s.mounts) > 0 {
		all = append(all, s)
	}
	if inner := tangled(all); inner != "" {
		return nil, fault.New(fault.Config, "mount %s: is inside of a mount that other containers of the Pod see, which is inside of one that they do not", inner).
			WithRemedy("Mount one of these volumes elsewhere, or leave one out with the annotation outrigger.dev/sync.<volume>: none")
	}
	return all, nil
}

// sameView is the name of what is no view: mounts whose files are those of views.
const sameView = "same"

// same finds the mounts whose files another view's mount has.
func (c Container) same(list []handoff.Same, all []seen) seen {
	s := seen{View: handoff.View{ID: sameView}}
	for _, alias := range list {
		to := alias.To
		if alias.Expr {
			to = path.Clean(expand(to, c.IO.Getenv))
		}
		f, err := c.find(handoff.Mount{Path: alias.Path})
		if err != nil || !wanted(alias.Path) {
			continue // what it is a part of may be optional
		}
		for _, v := range all {
			for _, m := range v.mounts {
				if within(m.Path, to) {
					f.same = path.Join(v.ID, m.local, strings.TrimPrefix(to, m.Path))
				}
			}
		}
		if f.same != "" {
			s.mounts = append(s.mounts, f)
		}
	}
	return s
}

// reference is a variable in a subPathExpr, or a dollar that is none.
var reference = regexp.MustCompile(`\$\$|\$\([^()]+\)`)

// expand writes out the variables that a path refers to, as the kubelet does.
func expand(p string, getenv func(string) string) string {
	return reference.ReplaceAllStringFunc(p, func(ref string) string {
		if ref == "$$" {
			return "$"
		}
		return getenv(ref[len("$(") : len(ref)-len(")")])
	})
}

func terminationView(plan handoff.Plan) string { return "termination-" + plan.Container }

func (c Container) find(m handoff.Mount) (found, error) {
	at := c.path(m.Path)
	// What is synced is found without following links, so those on the way to the
	// mount are followed here: /var/run is one to /run in many images.
	if real, err := filepath.EvalSymlinks(at); err == nil {
		at = real
	}
	rel, err := filepath.Rel(c.root(), at)
	if err != nil || !filepath.IsLocal(rel) {
		rel = strings.TrimPrefix(m.Path, "/")
	}
	info, err := os.Stat(at)
	if err != nil {
		return found{}, err
	}
	return found{Mount: m, local: rel, file: !info.IsDir()}, nil
}

// A dataLinks watches the links that the kubelet swaps when it changes the
// files of a ConfigMap, a Secret or the like.
type dataLinks struct {
	paths []string
	last  []string
}

func (c Container) dataLinks(v seen) *dataLinks {
	d := &dataLinks{}
	for _, m := range v.mounts {
		d.paths = append(d.paths, filepath.Join(c.root(), m.local, "..data"))
	}
	d.changed()
	return d
}

// changed tells whether a link leads elsewhere than at the last look.
func (d *dataLinks) changed() bool {
	now := make([]string, len(d.paths))
	for i, p := range d.paths {
		now[i], _ = os.Readlink(p) // no link is an answer too
	}
	same := slices.Equal(now, d.last)
	d.last = now
	return !same
}
