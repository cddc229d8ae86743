// Package link makes a folder of a lease appear at an absolute path of the
// machine, such as /workspace, and takes it away again.
//
// [Plan] decides: from what is asked and what was found, to steps as data. The
// rest looks, and carries steps out. Linux gets a symbolic link. So does macOS,
// but its root folder cannot be written: there the path's first part is an
// entry of /etc/synthetic.conf, made once for the machine, that leads to a folder
// of the agent's in which each lease's link is made. Windows gets a junction.
//
// Where the login may not become root and needs to, paths are rewritten in
// what runs execute instead ([Rewrite]).
package link

import (
	"path"
	"strings"

	"outrigger.dev/outrigger/internal/fault"
)

// A Request asks for a link.
type Request struct {
	OS     string // GOOS
	Path   string // absolute, as the user gave it
	Target string // absolute
	At     string // the agent's folder for macOS (disk.Root.At)
}

// Power is how root is become.
type Power string

// The ways to become root.
const (
	AsUser Power = "user" // not at all
	AsSudo Power = "sudo" // sudo -n
	AsRoot Power = "root" // is root
)

// A Found is what is at a path.
type Found string

// What can be at a path.
const (
	Nothing Found = ""
	Link    Found = "link" // a symbolic link or junction
	Dir     Found = "folder"
	Other   Found = "file"
)

// Facts are what Plan needs to know of the machine.
type Facts struct {
	Power Power
	// At tells what is at the path and at each of its parents, by clean path.
	At map[string]Found
	// Points tells where the links among them lead.
	Points map[string]string
	// Writable tells which of the folders among them the user may write to.
	Writable map[string]bool
	// Synthetic tells whether /etc/synthetic.conf has the path's first part, and where it leads.
	Synthetic map[string]string
}

// An Op is what a step does.
type Op string

// The steps there are.
const (
	Mkdir     Op = "mkdir"     // make the folder Path
	Symlink   Op = "symlink"   // make the link Path to Target
	Junction  Op = "junction"  // the same on Windows
	Synthetic Op = "synthetic" // add Path and Target to /etc/synthetic.conf and apply it
)

// A Step is one change of the machine.
type Step struct {
	Op     Op
	Path   string
	Target string // of links
	Root   bool   // needs to be root
}

// Clean returns the path in the one form that is compared and recorded, with
// slashes. Windows: a path without a drive is on the system drive.
func Clean(os, p string) (string, error) {
	if os == "windows" {
		p = strings.ReplaceAll(p, `\`, "/")
		drive := "C:"
		if len(p) > 1 && p[1] == ':' {
			drive, p = strings.ToUpper(p[:2]), p[2:]
		}
		if drive != "C:" {
			return "", fault.New(fault.Usage, "path %q: only the system drive can be linked", p)
		}
	}
	switch {
	case !strings.HasPrefix(p, "/"):
		return "", fault.New(fault.Usage, "path %q: want an absolute path", p)
	case strings.ContainsAny(p, "\x00\n\t"):
		return "", fault.New(fault.Usage, "path %q: has a character that it must not have", p)
	case strings.Contains(p+"/", "/../"), strings.HasPrefix(p, "//"):
		return "", fault.New(fault.Usage, "path %q: want it without ..", p)
	}
	p = path.Clean(p)
	if p == "/" {
		return "", fault.New(fault.Usage, "path /: want a folder below it")
	}
	return p, nil
}

// parents returns the parents of a clean path, outermost first, without "/".
func parents(p string) []string {
	var all []string
	for i := 1; i < len(p); i++ {
		if p[i] == '/' {
			all = append(all, p[:i])
		}
	}
	return all
}

// Plan returns the steps that make the link, the last of which makes the link
// itself; none if it is there. rewrite tells that it cannot be made because the
// login may not become root. What is there and not ours is a fault of kind PathTaken.
func Plan(req Request, f Facts) (steps []Step, rewrite bool, err error) {
	place := Place(req, f)
	switch found := f.At[place]; {
	case found == Link && f.Points[place] == req.Target:
		return nil, false, nil
	case found != Nothing:
		return nil, false, fault.New(fault.PathTaken, "path %s: there is a %s on the machine that is not ours", req.Path, found)
	}
	if req.OS == "darwin" {
		steps, err = planDarwin(req, f)
	} else {
		steps, err = planBelow(req, f)
	}
	if err != nil {
		return nil, false, err
	}
	for _, s := range steps {
		if s.Root && f.Power == AsUser {
			return nil, true, nil
		}
	}
	return steps, false, nil
}

// Place is where the link itself is: the path, but on macOS below the agent's
// folder once the path's first part leads there.
func Place(req Request, f Facts) string {
	if req.OS == "darwin" {
		first, _, _ := strings.Cut(req.Path[1:], "/")
		if own := req.At + "/" + first; f.Synthetic[first] == own {
			return req.At + req.Path
		}
	}
	return req.Path
}

// planBelow makes the parents that are missing, then the link.
func planBelow(req Request, f Facts) ([]Step, error) {
	op := Symlink
	if req.OS == "windows" {
		op = Junction
	}
	root := !f.Writable["/"]
	var steps []Step
	for _, p := range parents(req.Path) {
		switch f.At[p] {
		case Nothing:
			steps = append(steps, Step{Op: Mkdir, Path: p, Root: root})
		case Other:
			return nil, fault.New(fault.PathTaken, "path %s: %s is a file on the machine", req.Path, p)
		default:
			root = !f.Writable[p]
		}
	}
	// What we make for root belongs to root, so the link in it needs root too.
	return append(steps, Step{Op: op, Path: req.Path, Target: req.Target, Root: root}), nil
}

// planDarwin leads the path's first part into the agent's own folder, unless
// that part exists: then the link can be made below it as anywhere.
func planDarwin(req Request, f Facts) ([]Step, error) {
	first, rest, nested := strings.Cut(req.Path[1:], "/")
	own := req.At + "/" + first
	switch target, there := f.Synthetic[first]; {
	case there && target != own:
		return nil, fault.New(fault.PathTaken, "path %s: /etc/synthetic.conf leads /%s to %s", req.Path, first, target)
	case !there && f.At["/"+first] != Nothing:
		return planBelow(req, f)
	case !there:
		inner, err := planDarwin(req, withSynthetic(f, first, own))
		return append([]Step{{Op: Mkdir, Path: req.At}, {Op: Synthetic, Path: first, Target: own, Root: true}}, inner...), err
	}
	if !nested {
		return []Step{{Op: Symlink, Path: own, Target: req.Target}}, nil
	}
	var steps []Step
	for _, p := range append([]string{own}, prefixed(own, parents("/"+rest))...) {
		if f.At[p] == Nothing {
			steps = append(steps, Step{Op: Mkdir, Path: p})
		}
	}
	return append(steps, Step{Op: Symlink, Path: req.At + req.Path, Target: req.Target}), nil
}

func withSynthetic(f Facts, first, own string) Facts {
	s := map[string]string{first: own}
	for k, v := range f.Synthetic {
		s[k] = v
	}
	f.Synthetic = s
	return f
}

func prefixed(prefix string, paths []string) []string {
	var all []string
	for _, p := range paths {
		all = append(all, prefix+p)
	}
	return all
}

// Conflict tells whether two linked paths cannot both be: they are the same,
// or one would be made inside the folder that the other leads to.
func Conflict(a, b string) bool {
	return a == b || strings.HasPrefix(a, b+"/") || strings.HasPrefix(b, a+"/")
}
