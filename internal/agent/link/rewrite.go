package link

import "strings"

// Rewrite replaces the path from by to in s wherever it stands as a path of
// its own or begins one. What only looks like it, such as the end of a longer
// path or the beginning of another name, stays.
func Rewrite(s, from, to string) string {
	var b strings.Builder
	done := 0
	for i := 0; ; {
		j := strings.Index(s[i:], from)
		if j < 0 {
			b.WriteString(s[done:])
			return b.String()
		}
		start, end := i+j, i+j+len(from)
		i = end
		if begins(s[:start]) && ends(s[end:]) {
			b.WriteString(s[done:start])
			b.WriteString(to)
			done = end
		}
	}
}

// begins tells whether an absolute path may begin behind s.
func begins(s string) bool {
	if s == "" {
		return true
	}
	switch c := s[len(s)-1]; {
	case strings.IndexByte(" \t\r\n=:;,([{<>|&`!", c) >= 0:
		return true
	case c == '"' || c == '\'':
		// An opening quote begins a path; a closing one ends what the path goes on from: "$HOME"/workspace.
		before := s[:len(s)-1]
		return before == "" || strings.IndexByte(" \t\r\n=:;,([{<>|&`!", before[len(before)-1]) >= 0
	case c == '/':
		return strings.HasSuffix(s, "file://")
	case nameByte(c):
		return shortFlag(s)
	}
	return false
}

// shortFlag tells whether s ends in an option of one letter, as in -I/workspace/include.
func shortFlag(s string) bool {
	n := len(s)
	if n < 2 || s[n-2] != '-' || s[n-1] == '-' {
		return false
	}
	return n == 2 || strings.IndexByte(" \t\r\n=\"'(,", s[n-3]) >= 0
}

// ends tells whether a path's part may end before s.
func ends(s string) bool { return s == "" || !nameByte(s[0]) }

// nameByte tells whether c goes on with a file's name, rather than ending it.
func nameByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("._-~%+@#", c) >= 0 || c >= 0x80
}
