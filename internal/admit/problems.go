package admit

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"outrigger.dev/outrigger/internal/config/strict"
	"outrigger.dev/outrigger/internal/fault"
)

// problems are what is wrong with a Pod: all of it is said at once.
type problems []string

func (p *problems) add(format string, args ...any) {
	if text := fmt.Sprintf(format, args...); !slices.Contains(*p, text) {
		*p = append(*p, text)
	}
}

// denial is the one line in which everything is said; nil: nothing is wrong.
func (r *rewrite) denial() error {
	if len(r.problems) == 0 {
		return nil
	}
	return fault.New(fault.Config, "%s", strings.Join(r.problems, "; ")).
		WithRemedy("Mend what is named, in the Pod or in what makes it, and create it again.")
}

// quote writes what somebody else wrote: in one line, and not too much of it.
func quote(s string) string {
	const most = 60
	if runes := []rune(s); len(runes) > most {
		s = string(runes[:most]) + "…"
	}
	return fmt.Sprintf("%q", s)
}

// suggest is ", did you mean …?", or what there is.
func suggest(word string, known []string) string {
	if near, ok := strict.Nearest(word, known); ok {
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
