package look_test

import (
	"fmt"
	"strings"
	"testing"

	"outrigger.dev/outrigger/internal/doctor"
)

// A chart is what was found, by check.
type chart map[string]doctor.Result

func (c chart) add(r doctor.Result) { c[r.Check] = r }

// want compares "check: state reason" with what was found.
func (c chart) want(t *testing.T, all ...string) {
	t.Helper()
	for _, w := range all {
		check, state, _ := strings.Cut(w, ": ")
		r := c[check]
		if got := strings.TrimSpace(fmt.Sprintf("%s %s", r.State, r.Reason)); got != state {
			t.Errorf("%s is %s (%s), want %s", check, got, r.Found, state)
		}
	}
}
