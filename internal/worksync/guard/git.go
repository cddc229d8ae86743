package guard

import (
	"maps"
	"slices"
	"strings"
	"unicode"

	"outrigger.dev/outrigger/internal/worksync/tree"
)

// A folder is a repository for Git if it is called .git, or if it looks like
// one: a bare repository is found by any command in it, wherever it lies. That is
// how submodules' and worktrees' folders below .git are found too.
type marks byte

const (
	hasHead marks = 1 << iota
	hasObjects
	hasRefs
	hasCommon // its objects and refs are in another repository
)

func (m marks) repository() bool {
	return m&hasHead != 0 && (m&hasCommon != 0 || m&hasObjects != 0 && m&hasRefs != 0)
}

var markOf = map[string]marks{"head": hasHead, "objects": hasObjects, "refs": hasRefs, "commondir": hasCommon}

// private are the names in a repository's folder that say what Git executes or
// where it looks for that: configuration, hooks, where another repository is
// (commondir, gitdir), remote repositories in the old form, and the steps of a
// rebase or cherry-pick that is under way, which may be commands.
var private = map[string]bool{
	"config": true, "config.worktree": true, "hooks": true, "commondir": true, "gitdir": true,
	"remotes": true, "branches": true, "rebase-merge": true, "rebase-apply": true, "sequencer": true,
}

// inside are further such paths: filters, and other places to take objects from.
var inside = map[string]bool{"info/attributes": true, "objects/info/alternates": true, "objects/info/http-alternates": true}

// repositories are the folders that are one for Git.
type repositories struct {
	dirs  map[string]bool
	marks map[string]marks
}

func newRepositories() *repositories {
	return &repositories{map[string]bool{}, map[string]marks{}}
}

func (r *repositories) add(list []tree.Entry) {
	for i := range list {
		e := &list[i]
		name := fold(tree.Name(e.Path))
		if name == ".git" && e.Kind == tree.Dir {
			r.dirs[e.Path] = true
		}
		if m := markOf[name]; m != 0 {
			dir := tree.Parent(e.Path)
			if r.marks[dir] |= m; r.marks[dir].repository() {
				r.dirs[dir] = true
			}
		}
	}
}

// findGit finds Git's own among lists. A repository that was made on the
// machine is guarded as a whole: without its configuration it would be half of
// one. Where it was made of a folder that is here, whose other files may have
// come earlier, what makes it one is guarded.
func (g *Guard) findGit(l Lists) {
	mine := newRepositories()
	mine.add(l.Near)
	all := &repositories{maps.Clone(mine.dirs), maps.Clone(mine.marks)}
	all.add(l.Base)
	all.add(l.Far)
	for _, list := range [][]tree.Entry{l.Base, l.Near, l.Far} {
		g.findPrivate(list, all.dirs)
	}
	for dir := range all.dirs {
		if dir != "" && !has(l.Near, dir) {
			g.git[dir] = true
		}
	}
	for i := range l.Far {
		e := &l.Far[i]
		dir := tree.Parent(e.Path)
		if all.dirs[dir] && !mine.dirs[dir] && !has(l.Near, e.Path) && markOf[fold(tree.Name(e.Path))] != 0 {
			g.git[e.Path] = true
		}
	}
}

func has(list []tree.Entry, path string) bool {
	_, ok := slices.BinarySearchFunc(list, path, func(e tree.Entry, path string) int { return tree.Compare(e.Path, path) })
	return ok
}

// findPrivate finds what is private in the repositories, and what says where
// one is.
func (g *Guard) findPrivate(list []tree.Entry, repos map[string]bool) {
	for i := range list {
		e := &list[i]
		if e.Kind != tree.Dir && fold(tree.Name(e.Path)) == ".git" {
			g.git[e.Path] = true
			continue
		}
		for dir, ok := up(e.Path); ok && len(repos) > 0; dir, ok = up(dir) {
			rest := strings.TrimPrefix(e.Path[len(dir):], "/")
			if repos[dir] && (e.Kind == tree.Link || isPrivate(rest)) {
				g.git[e.Path] = true
				break
			}
		}
	}
}

// up returns the folder of path; not ok above the root, whose path is "".
func up(path string) (dir string, ok bool) { return tree.Parent(path), path != "" }

// isPrivate judges a path within a repository. What is below a private path
// goes with it.
func isPrivate(rest string) bool {
	parts := strings.Split(rest, "/")
	if len(parts) > 3 {
		return false
	}
	for i := range parts {
		parts[i] = fold(parts[i])
	}
	return len(parts) == 1 && private[parts[0]] || inside[strings.Join(parts, "/")]
}

// fold returns what all names have in common that some file system may take for
// one: upper and lower case, code points that HFS+ leaves out, Windows' short
// name of .git and what it cuts off from the end of a name. Folding too much
// only guards a file that need not be.
func fold(name string) string {
	plain := true
	for i := range len(name) {
		if c := name[i]; c >= 0x80 || 'A' <= c && c <= 'Z' || c == ':' || c == '~' {
			plain = false
			break
		}
	}
	if !plain {
		name, _, _ = strings.Cut(name, ":")
		name = strings.Map(foldRune, strings.ReplaceAll(name, "\ufb01", "fi"))
	}
	name = strings.TrimRight(name, ". ")
	if name == "git~1" {
		return ".git"
	}
	return name
}

func foldRune(r rune) rune {
	switch {
	case r >= 0x200c && r <= 0x200f, r >= 0x202a && r <= 0x202e, r >= 0x206a && r <= 0x206f, r == 0xfeff:
		return -1
	}
	return unicode.ToLower(unicode.ToUpper(r))
}
