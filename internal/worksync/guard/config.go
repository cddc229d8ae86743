package guard

import (
	"path"
	"path/filepath"
	"strings"

	"outrigger.dev/outrigger/internal/worksync/tree"
)

// MaxConfig bounds what is read of one of Git's configuration files.
const MaxConfig = 256 << 10

// Configs are the configuration files of repositories called .git in a list.
func Configs(near []tree.Entry) []string {
	var paths []string
	for i := range near {
		e := &near[i]
		name := tree.Name(e.Path)
		if e.Kind == tree.File && (name == "config" || name == "config.worktree") && tree.Name(tree.Parent(e.Path)) == ".git" {
			paths = append(paths, e.Path)
		}
	}
	return paths
}

// harmless are the sections whose values Git neither executes nor reads as
// configuration.
var harmless = map[string]bool{"remote": true, "branch": true, "submodule": true, "url": true, "user": true, "author": true, "committer": true}

// Referred are the paths below root, which is absolute, that the configuration
// file at the path at makes Git execute, or read as configuration: hooks in
// another place, included files, commands that lie in the folder.
func Referred(root, at, content string) []string {
	worktree := tree.Parent(tree.Parent(at))
	var paths []string
	section := ""
	content = strings.ReplaceAll(strings.ReplaceAll(content, "\r\n", "\n"), "\\\n", "")
	for line := range strings.SplitSeq(content, "\n") {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "[") {
			head, rest, _ := strings.Cut(line[1:], "]")
			section, _, _ = strings.Cut(strings.ToLower(strings.TrimSpace(head)), " ")
			section, _, _ = strings.Cut(section, ".")
			line = strings.TrimSpace(rest)
		}
		key, value, ok := strings.Cut(line, "=")
		key = strings.ToLower(strings.TrimSpace(key))
		if !ok || harmless[section] || strings.HasPrefix(line, "#") || strings.HasPrefix(line, ";") {
			continue
		}
		switch {
		case section == "include" || section == "includeif":
			paths = append(paths, below(root, tree.Parent(at), unquote(value)))
		case key == "hookspath" || key == "attributesfile":
			paths = append(paths, below(root, worktree, unquote(value)))
		case key != "worktree":
			for _, word := range strings.FieldsFunc(value, func(r rune) bool { return strings.ContainsRune(" \t\"'!;&|()=", r) }) {
				if strings.Contains(word, "/") {
					paths = append(paths, below(root, worktree, word))
				}
			}
		}
	}
	kept := paths[:0]
	for _, p := range paths {
		if p != "" {
			kept = append(kept, p)
		}
	}
	return kept
}

// unquote takes a comment and the quotes from a value that is a path.
func unquote(value string) string {
	value = strings.TrimSpace(value)
	if quoted, ok := strings.CutPrefix(value, `"`); ok {
		value, _, _ = strings.Cut(quoted, `"`)
		return value
	}
	value, _, _ = strings.Cut(value, " #")
	value, _, _ = strings.Cut(value, " ;")
	return strings.TrimSpace(value)
}

// below returns a path as it is called below root; "" if it is not below it, or
// is all of it.
func below(root, dir, name string) string {
	name = filepath.ToSlash(name)
	if abs := filepath.ToSlash(root) + "/"; strings.HasPrefix(name, abs) {
		dir, name = "", name[len(abs):]
	}
	if name == "" || path.IsAbs(name) || strings.HasPrefix(name, "~") || strings.HasPrefix(name, "%(") {
		return ""
	}
	p := path.Join(dir, name)
	if p == "." || p == ".." || strings.HasPrefix(p, "../") {
		return ""
	}
	return p
}
