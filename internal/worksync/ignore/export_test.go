package ignore

// MatchClass is for a test that compares with a definition.
var MatchClass = matchClass

// Looks is how often a match looks at a byte of the pattern.
func Looks(pattern, text string) (looks int, matches bool) {
	m := matching{p: pattern, t: text, start: true}
	matches = m.match()
	return m.looks, matches
}
