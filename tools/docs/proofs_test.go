package docs

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// proof is a test as the documentation names it: `FOLDER TestName`, or a fuzz target.
var proof = regexp.MustCompile("`((?:api|internal|test|tools)/[a-z0-9/]+) ((?:Test|Fuzz)[A-Za-z0-9]+)`")

// What the documentation says that a test proves, one of that name is there to prove.
func TestProofsExist(t *testing.T) {
	for _, page := range markdown(t) {
		for _, m := range proof.FindAllStringSubmatch(read(t, page), -1) {
			if !hasTest(t, filepath.Join(root, m[1]), m[2]) {
				t.Errorf("%s: no test %s in %s", page, m[2], m[1])
			}
		}
	}
}

// What is said to stop somebody has a test that shows it.
func TestWhatStopsAttackersIsShown(t *testing.T) {
	rows := 0
	for line := range strings.Lines(read(t, "docs/security.md")) {
		if !strings.HasPrefix(line, "| ") || strings.HasSuffix(line, "| shown by |\n") {
			continue
		}
		rows++
		if cells := strings.Split(line, " | "); len(cells) != 3 || !proof.MatchString(cells[2]) {
			t.Errorf("docs/security.md: want three cells, of which the last names a test: %s", line)
		}
	}
	if rows < 20 {
		t.Errorf("only %d rows found: the test looks at the wrong places", rows)
	}
}

// hasTest looks at the text: a test may be for another system, or behind a build tag.
func hasTest(t *testing.T, dir, name string) bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(b), "\nfunc "+name+"(t *testing.T)") || strings.Contains(string(b), "\nfunc "+name+"(f *testing.F)") {
			return true
		}
	}
	return false
}
