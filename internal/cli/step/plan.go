package step

import (
	"bufio"
	"io"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/handoff"
	"outrigger.dev/outrigger/internal/machine"
)

const (
	// grace is what a TERM leaves to the script: the Pod's 30 s but for what the
	// files' way back and the release take. A guess.
	grace = 20 * time.Second
	// creds is where Tekton's entrypoint writes the credentials of the Pod's service account.
	creds = "/tekton/creds"
)

// A mounted path is a mount of this container.
type mounted struct {
	path     string
	readOnly bool
}

// planOf is the plan that the webhook would have made of this container, as far as
// can be seen from inside.
func planOf(o Options) (handoff.Plan, error) {
	for _, m := range o.Mounts {
		if !path.IsAbs(m) || path.Clean(m) != m || m == "/" {
			return handoff.Plan{}, fault.New(fault.Usage, "step: mount %q: want an absolute path without . and .., such as /workspace/source", m)
		}
	}
	for _, kv := range o.Env {
		if name, _, ok := strings.Cut(kv, "="); !ok || name == "" {
			return handoff.Plan{}, fault.New(fault.Usage, "step: variable %q: want NAME=value", kv)
		}
	}
	if o.Network != "" && o.Network != "cluster" {
		return handoff.Plan{}, fault.New(fault.Usage, "step: network %q: want cluster, or nothing", o.Network)
	}
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return handoff.Plan{}, fault.New(fault.LocalFile, "step: %w", err)
	}
	defer f.Close()
	all, err := readMounts(f)
	if err != nil {
		return handoff.Plan{}, fault.New(fault.LocalFile, "step: mounts of this container: %w", err)
	}
	id := Name
	if o.Claim != "" {
		// What other Pods had in their workspaces is on that machine too, and what they
		// last agreed on with it is gone with them: so this Pod's are apart.
		id = string(machine.NewName(Name))
	}
	return handoff.Plan{
		Version: handoff.Version, Container: Name, AllEnv: true, Tekton: true, Grace: grace,
		Network: o.Network, Views: views(id, o.Mounts, all, o.Exclude),
	}, nil
}

// views are the paths, with the mounts below them; what is read-only, and the
// credentials, only go up.
func views(id string, paths []string, all []mounted, exclude []string) []handoff.View {
	both := handoff.View{ID: id, Exclude: exclude}
	up := handoff.View{ID: id + "-up", Exclude: exclude, Up: true}
	seen := map[string]bool{}
	add := func(p string, readOnly bool) {
		if seen[p] {
			return
		}
		seen[p] = true
		v := &both
		if readOnly {
			v = &up
		}
		v.Mounts = append(v.Mounts, handoff.Mount{Path: p})
	}
	for _, p := range paths {
		i := slices.IndexFunc(all, func(m mounted) bool { return m.path == p })
		add(p, i >= 0 && all[i].readOnly)
		for _, m := range all {
			if strings.HasPrefix(m.path, p+"/") {
				add(m.path, m.readOnly)
			}
		}
	}
	out := []handoff.View{both}
	if len(up.Mounts) > 0 {
		out = append(out, up)
	}
	// The relay makes these be in effect in the machine's home.
	return append(out, handoff.View{ID: id + "-creds", Up: true, Mounts: []handoff.Mount{{Path: creds}}})
}

// readMounts reads the kernel's list: of each line the fifth field is the path
// and the sixth the options, with blanks of a path as \040.
func readMounts(r io.Reader) ([]mounted, error) {
	var all []mounted
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		f := strings.Fields(lines.Text())
		if len(f) < 6 {
			continue
		}
		p, err := strconv.Unquote(`"` + strings.ReplaceAll(f[4], `"`, `\"`) + `"`)
		if err != nil {
			p = f[4]
		}
		all = append(all, mounted{p, slices.Contains(strings.Split(f[5], ","), "ro")})
	}
	return all, lines.Err()
}
