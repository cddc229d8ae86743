// Package imagebuild makes an image from a base image, a script and files: the
// docker build of machines.
//
// A [Recipe] is all that goes in, and the image is named by its digest: the same inputs are
// the same image, which is then not made again. [Provision] carries a recipe out on a machine
// that answers; [Build] is the whole life, from a new machine to the image, for the CLI.
// What the script does to the machine is the image; what Outrigger needed for it
// is gone before the disk is saved.
package imagebuild

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"io/fs"
	"path"
	"slices"
	"strings"

	"outrigger.dev/outrigger/internal/fault"
)

// A Recipe is what an image is made from.
type Recipe struct {
	Base   string // the image that the machine is made from
	BaseID string // tells one base of that name from the next; "": its name is all that is known
	Script []byte
	Files  []File
	Shell  string // interpreter of a script without a first line that names one; "": the machine's usual one
}

// A File is put on the machine before the script runs.
type File struct {
	Path    string // absolute, or below the user's home folder: "~/.zprofile"
	Mode    fs.FileMode
	Content []byte
}

// Limits of a recipe. The script is sent in one message; files are held in memory.
const (
	MaxScript = 512 << 10
	MaxFiles  = 256 << 20 // all contents together
)

// maxPrefix leaves room for the digest in a name of 63 characters.
const (
	maxName   = 63
	digestLen = 12
	maxPrefix = maxName - digestLen - 1
)

// Name is the image's name: prefix and the first 12 characters of the inputs' digest. What of
// prefix no provider would take is replaced.
func (r Recipe) Name(prefix string) string {
	prefix = strings.Map(func(c rune) rune {
		if c >= 'a' && c <= 'z' || c >= '0' && c <= '9' {
			return c
		}
		return '-'
	}, strings.ToLower(prefix))
	prefix = strings.TrimLeft(prefix, "-0123456789") // Orka wants a letter first
	prefix = strings.TrimRight(prefix[:min(len(prefix), maxPrefix)], "-")
	if prefix == "" {
		prefix = "image"
	}
	return prefix + "-" + r.digest()[:digestLen]
}

// CheckPrefix tells whether images can be called so without anything being replaced.
func CheckPrefix(prefix string) error {
	if name := (Recipe{}).Name(prefix); name[:len(name)-digestLen-1] != prefix {
		return fault.New(fault.Usage, "image name %q: want at most %d of a-z, 0-9 and \"-\", starting with a letter and not ending in \"-\"", prefix, maxPrefix)
	}
	return nil
}

// digest is of all inputs. The order of files does not count, since it makes no other image.
func (r Recipe) digest() string {
	h := sha256.New()
	part(h, "outrigger image 1")
	part(h, r.Base)
	part(h, r.BaseID)
	part(h, r.Shell)
	part(h, string(r.Script))
	for _, f := range r.sorted() {
		part(h, f.Path)
		part(h, fmt.Sprintf("%o", f.Mode.Perm()))
		part(h, string(f.Content))
	}
	return hex.EncodeToString(h.Sum(nil))
}

// part adds a text with its length, so that no two lists of texts are one.
func part(h hash.Hash, s string) {
	fmt.Fprintf(h, "%d:", len(s)) // a hash takes all
	h.Write([]byte(s))
}

func (r Recipe) sorted() []File {
	files := slices.Clone(r.Files)
	slices.SortFunc(files, func(a, b File) int { return strings.Compare(a.Path, b.Path) })
	return files
}

// Check finds what is wrong with a recipe, as far as that can be said without a machine.
func (r Recipe) Check() error {
	switch {
	case len(strings.TrimSpace(string(r.Script))) == 0:
		return fault.New(fault.BadScript, "script: is empty")
	case len(r.Script) > MaxScript:
		return fault.New(fault.BadScript, "script: has %d bytes, want at most %d", len(r.Script), MaxScript).
			WithRemedy("Give what is large in it as a file of its own, and run that.")
	case strings.ContainsRune(string(r.Script), 0):
		return fault.New(fault.BadScript, "script: holds a byte 0, want text")
	}
	total := 0
	seen := map[string]bool{}
	for _, f := range r.Files {
		if err := checkPath(f.Path); err != nil {
			return err
		}
		if seen[f.Path] {
			return fault.New(fault.Usage, "file %s: is given twice", f.Path)
		}
		seen[f.Path] = true
		total += len(f.Content)
	}
	if total > MaxFiles {
		return fault.New(fault.Usage, "files: have %d bytes together, want at most %d", total, MaxFiles).
			WithRemedy("Have the script fetch what is large.")
	}
	return nil
}

// checkPath wants a path that means the same whoever reads it: absolute, "~/…", or C:/….
func checkPath(p string) error {
	rest, home := strings.CutPrefix(p, "~/")
	drive := len(p) > 3 && p[1] == ':' && p[2] == '/'
	clean := p
	if home {
		clean = rest
	}
	if !home && !drive && !path.IsAbs(p) || clean == "" || clean == "/" || path.Clean(clean) != clean ||
		clean == ".." || strings.HasPrefix(clean, "../") || strings.ContainsAny(p, "\x00\\\n") {
		return fault.New(fault.Usage, "file %q: want an absolute path on the machine with forward slashes, or one that begins with ~/", p)
	}
	return nil
}
