package prepare

import (
	"os"
	"strings"
	"testing"
)

// The reference says of each step on which systems it is taken, and what becomes of a
// machine on which it fails.
func TestReferenceHasTheTable(t *testing.T) {
	page, err := os.ReadFile("../../docs/reference/preparation.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string][]string{}
	for line := range strings.Lines(string(page)) {
		if cells := strings.Split(line, "|"); len(cells) == 8 {
			rows[strings.Trim(cells[1], " `")] = cells
		}
	}
	for column, os := range map[int]string{2: "darwin", 3: "linux", 4: "windows"} {
		documented := map[string]bool{}
		for name, cells := range rows {
			if cell := strings.TrimSpace(cells[column]); cell == "yes" || cell == "if asked" {
				documented[name] = true
			}
		}
		for _, s := range Plan(os) {
			cells := rows[string(s.Condition)]
			if cells == nil || !documented[string(s.Condition)] {
				t.Errorf("%s: the reference does not have %s", os, s.Condition)
				continue
			}
			delete(documented, string(s.Condition))
			if want := map[Weight]string{Degrades: "degraded", Unfits: "unusable"}[s.Weight]; strings.TrimSpace(cells[5]) != want {
				t.Errorf("%s on %s: the reference says %s, want %s", s.Condition, os, cells[5], want)
			}
			if asked := strings.TrimSpace(cells[column]) == "if asked"; asked != (s.Wanted != nil) {
				t.Errorf("%s on %s: whether it is asked for is %t in the reference", s.Condition, os, asked)
			}
		}
		for name := range documented {
			t.Errorf("%s: the reference has %s, and the plan has not", os, name)
		}
	}
}
