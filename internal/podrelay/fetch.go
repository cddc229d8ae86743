package podrelay

import (
	"slices"
	"strings"

	"outrigger.dev/outrigger/internal/handoff"
	"outrigger.dev/outrigger/internal/relay"
	"outrigger.dev/outrigger/internal/worksync/plan"
)

// Results are the files of a Pod's containers with these plans as somebody else gets them from the Pod's
// machine, below an empty folder each: what they could have changed, at the paths of the containers.
func Results(plans []handoff.Plan) []relay.Files {
	var all []seen
	for _, p := range plans {
		for _, v := range p.Views {
			known := slices.ContainsFunc(all, func(s seen) bool { return s.ID == v.ID })
			if s := unseen(v); len(s.mounts) > 0 && !known {
				all = append(all, s)
			}
		}
	}
	var files []relay.Files
	for _, v := range all {
		if v.Up {
			continue
		}
		files = append(files, relay.Files{
			Folder: v.ID, Exclude: layout(v, all).exclude, TempTag: "fetch", AllowHere: true, Prefer: plan.Far, Apart: true,
		})
	}
	return files
}

// unseen is a view as it is in containers that are not here: without links on the way to its mounts.
func unseen(v handoff.View) seen {
	s := seen{View: v}
	for _, m := range v.Mounts {
		if wanted(m.Path) {
			s.mounts = append(s.mounts, found{Mount: m, local: strings.TrimPrefix(m.Path, "/")})
		}
	}
	return s
}
