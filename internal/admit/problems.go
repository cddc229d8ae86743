package admit

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/sanitize"
)

// problems are what is wrong with a Pod: all of it is said at once, as far as somebody would
// read it.
type problems struct {
	texts []string
	more  bool
}

// What a denial says at most. The text goes into events and conditions.
const (
	maxProblems = 20
	maxProblem  = 1 << 10 // bytes
)

func (p *problems) add(format string, args ...any) {
	if p.full() {
		p.more = true
		return
	}
	text := sanitize.Line(fmt.Sprintf(format, args...), maxProblem) // nobody has looked at the Pod's names yet
	if !slices.Contains(p.texts, text) {
		p.texts = append(p.texts, text)
	}
}

// full tells that nothing more will be said, so that nobody need look for it.
func (p *problems) full() bool { return len(p.texts) == maxProblems }

func (p *problems) any() bool { return len(p.texts) > 0 }

func (p *problems) String() string {
	text := strings.Join(p.texts, "; ")
	if p.more {
		text += "; and more"
	}
	return text
}

// ErrPool is the cause of a denial that another set of pools, or another namespace, might not have led to.
var ErrPool = errors.New("no pool for the Pod")

// A refusal is the text of a denial.
type refusal struct {
	text string
	pool bool
}

func (r refusal) Error() string        { return r.text }
func (r refusal) Is(target error) bool { return target == ErrPool && r.pool }

// denial is the one line in which everything is said; nil: nothing is wrong.
func (r *rewrite) denial() error {
	if !r.problems.any() {
		return nil
	}
	return fault.New(fault.Config, "%w", refusal{r.problems.String(), r.poolProblem}).
		WithRemedy("Mend what is named, in the Pod or in what makes it, and create it again.")
}

const maxWrong = 8

// wrong are the mistakes in one value, of which a few are told.
type wrong []string

func (w *wrong) add(format string, args ...any) {
	switch {
	case len(*w) < maxWrong:
		*w = append(*w, fmt.Sprintf(format, args...))
	case len(*w) == maxWrong:
		*w = append(*w, "and more")
	}
}

func (w *wrong) full() bool { return len(*w) > maxWrong }

func (w *wrong) String() string { return strings.Join(*w, ", ") }

// quote writes what somebody else wrote: in one line, and not too much of it.
func quote(s string) string {
	const most = 60
	n := 0
	for i := range s {
		if n == most {
			s = s[:i] + "…"
			break
		}
		n++
	}
	return fmt.Sprintf("%q", s)
}

// suggest is ", did you mean …?", or what there is.
func suggest(word string, known []string) string {
	if near, ok := nearest(word, known); ok {
		return fmt.Sprintf(", did you mean %s?", near)
	}
	if len(known) == 0 {
		return " and no other"
	}
	return ", want " + oneOf(known)
}

// oneOf lists names, of which there is at least one: "one of …" if there are several.
func oneOf(names []string) string {
	names = slices.Compact(slices.Sorted(slices.Values(names)))
	if len(names) == 1 {
		return names[0]
	}
	const most = 20
	rest := ""
	if len(names) > most {
		rest = fmt.Sprintf(" and %d more", len(names)-most)
		names = names[:most]
	}
	return "one of " + strings.Join(names, ", ") + rest
}

// encode writes JSON as people would: with < and & as they are.
func encode(v any) string {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		panic(err) // only types that cannot be encoded make an error, and none of these is one
	}
	return strings.TrimSuffix(b.String(), "\n")
}
