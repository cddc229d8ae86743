package ignore

import "strings"

// budget bounds the steps of one match, because nested stars can be made to
// take exponential time and patterns may come from the other side. Honest
// patterns on paths of 4 KiB need far less; one that runs out does not match.
const budget = 1 << 20

// wildmatch matches text against a pattern in which "*" and "?" stop at
// slashes and "**" between slashes spans any number of folders.
func wildmatch(pattern, text string) bool {
	steps := budget
	return match(pattern, text, true, &steps)
}

// match does the work; start tells whether pattern begins where a path
// component begins, which is what gives "**" its meaning.
func match(p, t string, start bool, steps *int) bool {
	for len(p) > 0 {
		if *steps--; *steps < 0 {
			return false
		}
		switch p[0] {
		case '*':
			return matchStar(p, t, start, steps)
		case '?':
			if t == "" || t[0] == '/' {
				return false
			}
			p, t = p[1:], t[1:]
		case '[':
			if t == "" || t[0] == '/' {
				return false
			}
			rest, ok := matchClass(p, t[0])
			if !ok {
				return false
			}
			p, t = rest, t[1:]
		case '\\':
			if len(p) < 2 || t == "" || t[0] != p[1] {
				return false
			}
			start = p[1] == '/'
			p, t = p[2:], t[1:]
			continue
		default:
			if t == "" || t[0] != p[0] {
				return false
			}
			start = p[0] == '/'
			p, t = p[1:], t[1:]
			continue
		}
		start = false
	}
	return t == ""
}

func matchStar(p, t string, start bool, steps *int) bool {
	rest := strings.TrimLeft(p, "*")
	stars := len(p) - len(rest)
	spans := false // does it cross slashes?
	if stars >= 2 && start && (rest == "" || rest[0] == '/' || strings.HasPrefix(rest, `\/`)) {
		spans = true
		// "**/" also stands for no folder at all.
		if rest != "" && rest[0] == '/' && match(rest[1:], t, true, steps) {
			return true
		}
	}
	if rest == "" {
		return spans || !strings.Contains(t, "/")
	}
	for i := 0; ; i++ {
		if match(rest, t[i:], false, steps) {
			return true
		}
		if i == len(t) || *steps < 0 || !spans && t[i] == '/' {
			return false
		}
	}
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
