package ignore

// For tests that compare with a definition.
var (
	Wildmatch  = wildmatch
	MatchClass = matchClass
)
