// Package names knows which names a folder on the other side can hold.
//
// What a file system does with names depends on more than the operating
// system: a Mac's may or may not tell upper from lower case, and a Linux machine
// may have a Windows file system mounted. So a [Probe] tries it out on the very
// folder, and [Check] is a pure function of what the probe saw.
package names

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// Ways is how a folder treats names and what else it can hold.
type Ways struct {
	FoldsCase bool `cbor:"1,keyasint,omitempty"` // "A" and "a" are one file
	FoldsNorm bool `cbor:"2,keyasint,omitempty"` // "é" and "e" with an accent are one file
	UTF8Only  bool `cbor:"3,keyasint,omitempty"`
	DOS       bool `cbor:"4,keyasint,omitempty"` // Windows' rules for characters and devices
	NoModes   bool `cbor:"5,keyasint,omitempty"` // mode bits are not kept
	NoLinks   bool `cbor:"6,keyasint,omitempty"` // symbolic links cannot be made
}

// Picky tells whether there are names that it cannot hold, so that a list must
// be checked as a whole before anything is sent.
func (w Ways) Picky() bool { return w.FoldsCase || w.FoldsNorm || w.UTF8Only || w.DOS }

// A Problem is one name, or several that would be one, and why.
type Problem struct {
	Paths []string
	Why   string
}

// String names the paths and the reason.
func (p Problem) String() string {
	quoted := make([]string, len(p.Paths))
	for i, path := range p.Paths {
		quoted[i] = fmt.Sprintf("%q", path)
	}
	return strings.Join(quoted, ", ") + ": " + p.Why
}

// Check returns what of a tree cannot be held. Paths are in walk order.
func Check(paths []string, w Ways) []Problem {
	if !w.Picky() {
		return nil
	}
	var problems []Problem
	same := map[string][]string{}
	for _, path := range paths {
		if why := w.refuses(path[strings.LastIndexByte(path, '/')+1:]); why != "" {
			problems = append(problems, Problem{[]string{path}, why})
		}
		key := w.fold(path)
		same[key] = append(same[key], path)
	}
	if w.FoldsCase || w.FoldsNorm {
		problems = append(problems, collisions(same)...)
	}
	return problems
}

func collisions(same map[string][]string) []Problem {
	var problems []Problem
	for key, paths := range same {
		if len(paths) < 2 || len(same[parent(key)]) > 1 {
			continue // where folders collide, naming the folders says enough
		}
		slices.Sort(paths)
		problems = append(problems, Problem{paths, "would be one and the same name there"})
	}
	slices.SortFunc(problems, func(a, b Problem) int { return strings.Compare(a.Paths[0], b.Paths[0]) })
	return problems
}

func parent(path string) string {
	if i := strings.LastIndexByte(path, '/'); i >= 0 {
		return path[:i]
	}
	return "/" // no path folds to this
}

// fold returns what all names that are one to w have in common. It may fold a
// little more than some file systems do: then a harmless pair is refused,
// which is better than losing one of them.
func (w Ways) fold(path string) string {
	if w.FoldsNorm {
		path = norm.NFD.String(path)
	}
	if w.FoldsCase {
		path = strings.ToLower(strings.ToUpper(path))
	}
	if w.FoldsNorm && w.FoldsCase {
		path = norm.NFD.String(path)
	}
	return path
}

// refuses says why w cannot hold a name, "" if it can.
func (w Ways) refuses(name string) string {
	if w.UTF8Only && !utf8.ValidString(name) {
		return "is not UTF-8"
	}
	if !w.DOS {
		return ""
	}
	for i := range len(name) {
		if c := name[i]; c < ' ' || strings.IndexByte(`<>:"|?*\`, c) >= 0 {
			return fmt.Sprintf("holds %q, which Windows does not allow", c)
		}
	}
	if last := name[len(name)-1]; last == '.' || last == ' ' {
		return fmt.Sprintf("ends with %q, which Windows drops", last)
	}
	if device(name) {
		return "is the name of a device on Windows"
	}
	return ""
}

// device tells whether Windows takes name for a device, with any extension.
func device(name string) bool {
	stem, _, _ := strings.Cut(name, ".")
	stem = strings.ToUpper(strings.TrimRight(stem, " "))
	switch stem {
	case "CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$":
		return true
	}
	for _, prefix := range []string{"COM", "LPT"} {
		if n, ok := strings.CutPrefix(stem, prefix); ok {
			switch n {
			case "0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "\u00b9", "\u00b2", "\u00b3":
				return true
			}
		}
	}
	return false
}
