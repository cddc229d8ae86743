package ignore

import "strings"

// A retry is where to go on after a mismatch: a place behind a star in the
// pattern, and how much of the text the star has taken so far.
type retry struct {
	set           bool
	pattern, text int
}

// matching is one comparison under way.
type matching struct {
	p, t   string
	pi, ti int
	// start tells whether what is left of the pattern begins where a path
	// component begins, which is what gives "**" its meaning.
	start bool
	star  retry // the last "*"
	span  retry // the last "**"
	looks int   // at bytes of the pattern, which a test holds a bound on
}

// wildmatch matches text against a pattern in which "*" and "?" stop at
// slashes and "**" between slashes spans any number of folders.
//
// Only the last "*" and the last "**" ever take more text. An earlier "*" need
// not, because the later one can take whatever that would; and behind a slash it
// has nothing left to take. The same holds for "**", which begins and ends at
// slashes. So a match costs the product of the lengths at most, whatever the
// pattern: patterns may come from the other side.
func wildmatch(pattern, text string) bool {
	m := matching{p: pattern, t: text, start: true}
	return m.match()
}

func (m *matching) match() bool {
	for {
		m.looks++
		if m.pi == len(m.p) {
			if m.ti == len(m.t) {
				return true
			}
		} else if m.p[m.pi] == '*' {
			if done, matches := m.stars(); done {
				return matches
			}
			continue
		} else if m.one() {
			continue
		}
		if !m.again() {
			return false
		}
	}
}

// one matches a single byte, and tells whether it did.
func (m *matching) one() bool {
	if m.ti == len(m.t) {
		return false
	}
	c := m.t[m.ti]
	next := m.pi + 1
	m.start = false
	switch m.p[m.pi] {
	case '?':
		if c == '/' {
			return false
		}
	case '[':
		rest, ok := matchClass(m.p[m.pi:], c)
		next = len(m.p) - len(rest)
		m.looks += next - m.pi
		if !ok || c == '/' {
			return false
		}
	case '\\':
		if next == len(m.p) || m.p[next] != c {
			return false
		}
		m.start = c == '/'
		next++
	default:
		if m.p[m.pi] != c {
			return false
		}
		m.start = c == '/'
	}
	m.pi, m.ti = next, m.ti+1
	return true
}

// stars takes a run of stars, and tells whether that decides the match.
func (m *matching) stars() (done, matches bool) {
	rest := strings.TrimLeft(m.p[m.pi:], "*")
	count := len(m.p) - m.pi - len(rest)
	m.looks += count
	behind := len(m.p) - len(rest)
	if count < 2 || !m.start || rest != "" && rest[0] != '/' && !strings.HasPrefix(rest, `\/`) {
		m.star = retry{true, behind, m.ti}
		m.pi, m.start = behind, false
		return false, false
	}
	switch {
	case rest == "":
		return true, true
	case rest[0] == '/': // also stands for no folder at all
		m.span = retry{true, behind + 1, m.ti}
		m.pi, m.star, m.start = behind+1, retry{}, true
		return false, false
	}
	m.span, m.star = retry{true, behind + 2, m.ti}, retry{}
	return !m.again(), false
}

// again lets the last star take more of the text, and tells whether one could.
func (m *matching) again() bool {
	if s := &m.star; s.set && s.text < len(m.t) && m.t[s.text] != '/' {
		s.text++
		m.pi, m.ti, m.start = s.pattern, s.text, false
		return true
	}
	s := &m.span
	if !s.set {
		return false
	}
	slash := strings.IndexByte(m.t[s.text:], '/')
	if slash < 0 {
		return false
	}
	s.text += slash + 1
	m.star = retry{}
	m.pi, m.ti, m.start = s.pattern, s.text, true
	return true
}

// matchClass matches c against the class at the start of p and returns what
// follows the class. A class without its end matches nothing.
func matchClass(p string, c byte) (rest string, ok bool) {
	p = p[1:]
	negate := strings.HasPrefix(p, "!") || strings.HasPrefix(p, "^")
	if negate {
		p = p[1:]
	}
	found := false
	for first := true; ; first = false {
		if p == "" {
			return "", false
		}
		if p[0] == ']' && !first {
			return p[1:], found != negate
		}
		if name, after, isNamed := namedClass(p); isNamed {
			in, known := inNamed(name, c)
			if !known {
				return "", false
			}
			found = found || in
			p = after
			continue
		}
		lo, after, valid := classChar(p)
		if !valid {
			return "", false
		}
		hi := lo
		if len(after) >= 2 && after[0] == '-' && after[1] != ']' {
			if hi, after, valid = classChar(after[1:]); !valid {
				return "", false
			}
		}
		found = found || lo <= c && c <= hi
		p = after
	}
}

// classChar reads one member of a class, which a backslash may protect.
func classChar(p string) (c byte, rest string, ok bool) {
	if p[0] != '\\' {
		return p[0], p[1:], true
	}
	if len(p) < 2 {
		return 0, "", false
	}
	return p[1], p[2:], true
}

func namedClass(p string) (name, rest string, ok bool) {
	if !strings.HasPrefix(p, "[:") {
		return "", "", false
	}
	// The name ends at the first bracket; without a colon before it, the "["
	// is an ordinary member of the class.
	end := strings.IndexByte(p[2:], ']')
	if end < 1 || p[2+end-1] != ':' {
		return "", "", false
	}
	return p[2 : 2+end-1], p[2+end+1:], true
}

func inNamed(name string, c byte) (in, known bool) {
	lower, upper, digit := 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9'
	graph := '!' <= c && c <= '~'
	switch name {
	case "alnum":
		return lower || upper || digit, true
	case "alpha":
		return lower || upper, true
	case "blank":
		return c == ' ' || c == '\t', true
	case "cntrl":
		return c < ' ' || c == 0x7f, true
	case "digit":
		return digit, true
	case "graph":
		return graph, true
	case "lower":
		return lower, true
	case "print":
		return graph || c == ' ', true
	case "punct":
		return graph && !lower && !upper && !digit, true
	case "space":
		return c == ' ' || '\t' <= c && c <= '\r', true
	case "upper":
		return upper, true
	case "xdigit":
		return digit || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F', true
	}
	return false, false
}
