package parcel

import (
	"archive/tar"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"strings"

	"golang.org/x/text/unicode/norm"

	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/worksync/names"
	"outrigger.dev/outrigger/internal/worksync/tree"
)

// ways is what this system cannot hold.
var ways = names.Ways{DOS: runtime.GOOS == "windows", UTF8Only: runtime.GOOS == "windows"}

// begin takes the first name of a parcel: a single one, of a file or a folder;
// "." is what is in a folder.
func (u *unpacker) begin(sent string, isDir bool) error {
	u.base = sent
	if isDir {
		u.base = strings.TrimSuffix(sent, "/")
	}
	if u.base == "." && isDir {
		return nil
	}
	u.single = !isDir
	return component(u.base, sent)
}

// way is where an entry goes, by single names from root. A name must be written
// as Pack writes it: nothing is resolved or tidied here, so nothing is seen
// otherwise by a check than by the system.
func (u *unpacker) way(h *tar.Header) ([]string, error) {
	if len(h.Name) > tree.MaxPath {
		return nil, fault.New(fault.Protocol, "copy: a name of %d bytes", len(h.Name))
	}
	sent := h.Name
	if h.Typeflag == tar.TypeDir {
		sent = strings.TrimSuffix(sent, "/")
	} else if u.entries == 0 && h.Typeflag != tar.TypeReg {
		return nil, fault.New(fault.Protocol, "copy: a parcel that begins with a thing of type %q", h.Typeflag)
	}
	var way []string
	if u.target != "" {
		way = append(way, u.target)
	}
	rest, below := sent, u.base == "."
	if !below {
		rest, below = strings.CutPrefix(sent, u.base+"/")
	}
	if u.entries == 0 {
		return way, nil // it is the base
	}
	if !below {
		return nil, elsewhere(h.Name)
	}
	for name := range strings.SplitSeq(rest, "/") {
		if err := component(name, h.Name); err != nil {
			return nil, err
		}
		way = append(way, name)
	}
	return way, nil
}

// component refuses what is not the name of one thing in a folder.
func component(name, sent string) error {
	if name == "" || name == "." || name == ".." || strings.ContainsAny(name, "/\x00") {
		return elsewhere(sent)
	}
	for _, p := range names.Check([]string{name}, ways) {
		return fault.New(fault.BadName, "copy: %s", p)
	}
	if !filepath.IsLocal(name) {
		return elsewhere(sent)
	}
	return nil
}

func elsewhere(sent string) error {
	return fault.New(fault.Protocol, "copy: a name that leads elsewhere: %q", sent)
}

// sparse tells whether a file's holes are announced instead of sent: Pack does
// not, and a few bytes would become as large a file as somebody likes.
func sparse(h *tar.Header) bool {
	for key := range h.PAXRecords {
		if strings.HasPrefix(key, "GNU.sparse.") {
			return true
		}
	}
	return h.Typeflag == tar.TypeGNUSparse
}

// checkTarget refuses a link that no folder can hold, and on Windows one to a
// drive or a share: whoever looks through it would log in at the share's server.
func checkTarget(h *tar.Header) error {
	if h.Linkname == "" || len(h.Linkname) > tree.MaxPath || strings.ContainsRune(h.Linkname, 0) {
		return fault.New(fault.Protocol, "copy: %q is a link to a name of %d bytes", h.Name, len(h.Linkname))
	}
	if filepath.VolumeName(filepath.FromSlash(h.Linkname)) != "" {
		return fault.New(fault.BadName, "copy: %q is a link to %q", h.Name, h.Linkname)
	}
	return nil
}

// A level is a folder that is being filled. It holds no link on its way: each
// folder was opened in the one before, and refused if it was none.
type level struct {
	dir    *tree.Folder
	name   string
	header *tar.Header       // whose mode and time it gets when it is full
	folded map[string]string // names by what like ones have in common
	names  int               // how long these are
}

// goTo leaves folders until the one at way is the last open one. Pack sends a
// folder before what is in it, and all of that before anything else.
func (u *unpacker) goTo(way []string, sent string) (*level, error) {
	same := 0
	for same < len(way) && same+1 < len(u.open) && u.open[same+1].name == way[same] {
		same++
	}
	for len(u.open) > same+1 {
		if err := u.leave(true); err != nil {
			return nil, err
		}
	}
	if same < len(way) {
		return nil, fault.New(fault.Protocol, "copy: %q came without its folder", sent)
	}
	return &u.open[same], nil
}

// leave closes the last open folder, and sets what writing into it would have
// changed, or forbidden.
func (u *unpacker) leave(full bool) error {
	last := u.open[len(u.open)-1]
	u.open = u.open[:len(u.open)-1]
	u.names -= last.names
	err := last.dir.Close()
	if full && err == nil {
		err = settle(u.open[len(u.open)-1].dir, last.name, last.header)
	}
	return u.writeFault(err)
}

// remember takes a name that is another one than all before it in its folder.
func (u *unpacker) remember(at *level, name string) error {
	if u.names += len(name); u.names > maxNames {
		return fault.New(fault.Protocol, "copy: more than %d bytes of names side by side", maxNames).WithRemedy("Copy it in several parts.")
	}
	at.names += len(name)
	return at.distinct(name)
}

// distinct refuses a name that is another one's on this file system: where
// letters' case or the way to write accents does not count, the second file would
// silently replace the first.
func (l *level) distinct(name string) error {
	key := norm.NFD.String(strings.ToLower(strings.ToUpper(norm.NFD.String(name))))
	before, seen := l.folded[key]
	if !seen {
		l.folded[key] = name
		return nil
	}
	if before == name {
		return fault.New(fault.Protocol, "copy: %q came twice", path.Join(l.dir.Path, name))
	}
	one, err := l.dir.Lstat(before)
	if err != nil {
		return l.dir.At("look at", before, err)
	}
	if two, err := l.dir.Lstat(name); err == nil && os.SameFile(one, two) {
		return fault.New(fault.BadName, "copy: %q and %q are one name on this file system", before, name)
	}
	return nil
}

// asked returns what a parcel may be called that somebody wanted by this name.
// Which of the two separators the machine has is not known here, so both count. A
// name such as "~" or "..", of which only the machine knows what it stands for,
// fits nothing that a machine calls so.
func asked(name string) func(base string) bool {
	slashed := strings.ReplaceAll(name, `\`, "/")
	return func(base string) bool {
		if contents(slashed) || base == "." {
			return contents(slashed) && base == "."
		}
		return base == path.Base(path.Clean(slashed)) || base == path.Base(path.Clean(name))
	}
}

// contents tells whether a name stands for what is in a folder: one that ends in
// "/.", and a root, which has no name.
func contents(slashed string) bool {
	rest := strings.TrimRight(slashed, "/")
	drive := len(rest) == 2 && rest[1] == ':'
	return endsInDot(slashed) || rest != slashed && (rest == "" || drive)
}
