// Package ignore matches paths against patterns in gitignore syntax.
//
// It is its own so that the machine's agent needs no further library, and it is
// held to the real thing: a test compares it with git check-ignore on random
// patterns and paths. Patterns and paths are bytes, as in Git; nothing is
// decoded as UTF-8 and letter case always counts.
package ignore

import (
	"fmt"
	"strings"
)

// FileName is the file in a synced folder's root that holds patterns.
const FileName = ".outriggerignore"

// Limits of what Parse takes: patterns also come from the other side.
const (
	MaxPatterns = 10_000
	MaxPattern  = 4096
)

// A Matcher is a list of patterns; the last one that matches a path decides.
// The zero Matcher, and nil, match nothing.
type Matcher struct{ rules []rule }

// wildcards are the bytes that make a pattern more than a name.
const wildcards = `*?[\`

type rule struct {
	pattern  string
	negate   bool // "!pattern": includes again
	dirOnly  bool // "pattern/": folders only
	anchored bool // holds a slash: compared with the whole path, else with the last name
	literal  bool // no wildcard: compared byte by byte
}

// Lines splits the content of an ignore file into patterns.
func Lines(content string) []string {
	var out []string
	for line := range strings.SplitSeq(strings.TrimPrefix(content, "\ufeff"), "\n") {
		out = append(out, strings.TrimSuffix(line, "\r"))
	}
	return out
}

// Parse reads patterns, one gitignore line each; empty lines and comments are
// allowed. Only their number and length can be wrong.
func Parse(patterns []string) (*Matcher, error) {
	if len(patterns) > MaxPatterns {
		return nil, fmt.Errorf("ignore: %d patterns, want at most %d", len(patterns), MaxPatterns)
	}
	m := &Matcher{}
	for i, line := range patterns {
		if len(line) > MaxPattern {
			return nil, fmt.Errorf("ignore: pattern %d: %d bytes, want at most %d", i+1, len(line), MaxPattern)
		}
		if r, ok := parseLine(line); ok {
			m.rules = append(m.rules, r)
		}
	}
	return m, nil
}

func parseLine(line string) (rule, bool) {
	var r rule
	if strings.HasPrefix(line, "#") {
		return r, false
	}
	line = trimSpaces(line)
	if strings.HasPrefix(line, "!") {
		r.negate = true
		line = line[1:]
	}
	if strings.HasSuffix(line, "/") {
		r.dirOnly = true
		line = line[:len(line)-1]
	}
	r.anchored = strings.Contains(line, "/")
	r.pattern = strings.TrimPrefix(line, "/")
	r.literal = !strings.ContainsAny(r.pattern, wildcards)
	return r, r.pattern != ""
}

// trimSpaces cuts trailing spaces that no backslash protects.
func trimSpaces(s string) string {
	end := 0
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '\\' && i+1 < len(s):
			i++
			end = i + 1
		case s[i] != ' ':
			end = i + 1
		}
	}
	return s[:end]
}

// Match tells whether path itself is excluded, for a walker that does not
// enter excluded folders: a pattern that names a folder above path does not
// count here. Path is relative, with slashes.
func (m *Matcher) Match(path string, isDir bool) bool {
	if m == nil {
		return false
	}
	name := path[strings.LastIndexByte(path, '/')+1:]
	for i := len(m.rules) - 1; i >= 0; i-- {
		r := &m.rules[i]
		if r.dirOnly && !isDir {
			continue
		}
		subject := name
		if r.anchored {
			subject = path
		}
		if r.matches(subject) {
			return !r.negate
		}
	}
	return false
}

// Excluded tells whether path or a folder above it is excluded.
func (m *Matcher) Excluded(path string, isDir bool) bool {
	if m == nil || len(m.rules) == 0 {
		return false
	}
	for i := range len(path) {
		if path[i] == '/' && m.Match(path[:i], true) {
			return true
		}
	}
	return m.Match(path, isDir)
}

func (r *rule) matches(s string) bool {
	if r.literal {
		return r.pattern == s
	}
	// As Git does, what stands before the first wildcard is compared first, and
	// the rest is a pattern by itself: "a**/b" means "a" followed by "**/b".
	fixed := 0
	if r.anchored {
		fixed = strings.IndexAny(r.pattern, wildcards)
	}
	return strings.HasPrefix(s, r.pattern[:fixed]) && wildmatch(r.pattern[fixed:], s[fixed:])
}
