// Package tree looks at a folder and says what is in it.
//
// A folder is a list of entries in walk order: each folder is followed by all
// that is in it. Contents, mode bits, link targets and the modification times
// of files and folders are carried from one side to the other; modification
// times of links are not, nor are owners, hard links or extended attributes.
// Symbolic links are entries by themselves and are never followed.
//
// Each side of a sync keeps, for every entry that both agreed on, a [Stamp]: what
// one lstat showed of it. An entry whose stamp is as it was is what it was, and
// is reported as the agreed entry rather than as the file system words it, so
// that a coarse clock or a file system without mode bits never looks like a
// change.
package tree

import (
	"encoding/hex"
	"strings"
)

// A Kind is what an entry is. The zero Kind is invalid.
type Kind byte

// The kinds of entry.
const (
	File Kind = iota + 1
	Dir
	Link
	Special // a pipe, socket, device or the like: seen, never carried
)

// String returns the kind in words.
func (k Kind) String() string {
	switch k {
	case File:
		return "file"
	case Dir:
		return "folder"
	case Link:
		return "link"
	case Special:
		return "special file"
	}
	return "nothing"
}

// A Digest is the BLAKE3 of a file's content; zero means unknown.
type Digest [32]byte

// Known tells whether the digest has been computed.
func (d Digest) Known() bool { return d != Digest{} }

// String returns the digest in hexadecimal.
func (d Digest) String() string { return hex.EncodeToString(d[:]) }

// An Entry is what both sides can agree on about one path. Two entries are the
// same exactly if they are equal with ==.
type Entry struct {
	Path   string // bytes, relative, with slashes
	Kind   Kind
	Mode   uint32 // of files and folders, see [ModeBits]
	Size   int64  // of files
	MTime  int64  // of files and folders, in nanoseconds since 1970; of a folder 0: unknown
	Target string // of links
	Digest Digest // of files, if known
}

// A Stamp is what one side's file system showed of an entry.
type Stamp struct {
	Size  int64
	MTime int64
	CTime int64  // 0 where there is none
	Inode uint64 // 0 where there is none
	Mode  uint32
	// Racy says that the entry may have changed after the stamp was taken
	// without the clock of the file system having moved on.
	Racy bool
	// Absent says that this side cannot hold the entry (a link where links
	// are not to be had) and that its absence is therefore no change.
	Absent bool
}

// A Node is an entry as one side has it.
type Node struct {
	Entry
	Stamp Stamp
	Same  bool // as in the baseline; Entry is then the baseline's own
	Holds bool // a folder with something directly in it that is not synced
	// Closed says why the entry cannot be read; of a folder, all that is in it.
	Closed string
	Gone   bool // it was there when the folder was scanned, and was not when it was read
}

// Compare orders paths as a walk meets them: a folder, then all that is in it,
// then its next sibling.
func Compare(a, b string) int {
	n := min(len(a), len(b))
	for i := range n {
		if a[i] == b[i] {
			continue
		}
		switch {
		case a[i] == '/':
			return -1
		case b[i] == '/':
			return 1
		case a[i] < b[i]:
			return -1
		}
		return 1
	}
	return len(a) - len(b)
}

// Parent returns the folder of path, "" for the root.
func Parent(path string) string {
	if i := strings.LastIndexByte(path, '/'); i >= 0 {
		return path[:i]
	}
	return ""
}

// Name returns the last component of path.
func Name(path string) string { return path[strings.LastIndexByte(path, '/')+1:] }

// Join puts a name below a folder.
func Join(dir, name string) string {
	if dir == "" {
		return name
	}
	return dir + "/" + name
}

// TempPrefix begins the names of files on their way to their real name. What
// begins with it is never synced.
const TempPrefix = ".outrigger-tmp-"

// IsTemp tells whether name is that of such a file.
func IsTemp(name string) bool { return strings.HasPrefix(name, TempPrefix) }
