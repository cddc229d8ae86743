package transfer

import (
	"fmt"
	"strings"

	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/sanitize"
)

// A Left is a path that an operation left as it is on both sides, with all that
// is in it. Everything else has been done.
type Left struct {
	Path string // "." is the folder itself
	Why  string
	// Kind says what it was left for: Conflict, BadName, or PathsLeft for all else.
	Kind fault.Kind
	// Unread: the machine's login cannot read it there, so trying again is of no use by itself.
	Unread bool
}

const (
	maxLeft = 10_000 // that are named to the caller
	maxTold = 20     // that are named in a fault
	maxWhy  = 300    // bytes of a reason that came from the other side
)

// leave notes a path that stays as it is.
func (x *exchange) leave(l Left) {
	if l.Kind == "" {
		l.Kind = fault.PathsLeft
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.report.LeftCount++; len(x.report.Left) < maxLeft {
		x.report.Left = append(x.report.Left, l)
	}
}

// LeftFault is the fault of an operation that did all but what it left; nil if
// it left nothing. It is of the one kind that all were left for, else PathsLeft.
func LeftFault(left []Left, count int) error {
	if count == 0 || len(left) == 0 {
		return nil
	}
	kind := left[0].Kind
	var b strings.Builder
	for i, l := range left {
		if l.Kind != kind {
			kind = fault.PathsLeft
		}
		if i < maxTold {
			fmt.Fprintf(&b, "%s: %s\n", sanitize.Line(l.Path, 500), sanitize.Line(l.Why, 500))
		}
	}
	if count > maxTold {
		fmt.Fprintf(&b, "and %d more\n", count-maxTold)
	}
	what := fmt.Sprint(count, " paths were left as they are")
	if count == 1 {
		what = "1 path was left as it is"
	}
	return fault.New(kind, "sync: %s, and all else was done: %s: %s", what,
		sanitize.Line(left[0].Path, 200), sanitize.Line(left[0].Why, 200)).WithDetail(strings.TrimSuffix(b.String(), "\n"))
}
