package transfer

import (
	"slices"
	"strings"

	"outrigger.dev/outrigger/internal/worksync/plan"
	"outrigger.dev/outrigger/internal/worksync/tree"
)

// only returns the steps that concern paths, what is below them, and the folders that they need
// above them; all steps for no paths.
func only(steps []plan.Step, paths []string) []plan.Step {
	if len(paths) == 0 {
		return steps
	}
	return slices.DeleteFunc(slices.Clone(steps), func(s plan.Step) bool {
		return !slices.ContainsFunc(paths, func(path string) bool { return concerns(s, path) })
	})
}

func concerns(s plan.Step, path string) bool {
	at := s.Entry.Path
	switch {
	case at == path, strings.HasPrefix(at, path+"/"):
		return true
	case !strings.HasPrefix(path, at+"/"):
		return false
	}
	// A folder above is made, and takes the place of a file or link.
	return s.Op == plan.Make && s.Entry.Kind == tree.Dir || s.Op == plan.Delete && s.Entry.Kind != tree.Dir
}
