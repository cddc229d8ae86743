package docs

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// proof is a test as the documentation names it: `FOLDER TestName`.
var proof = regexp.MustCompile("`((?:internal|test|tools)/[a-z0-9/]+) (Test[A-Za-z0-9]+)`")

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
		if strings.Contains(string(b), "\nfunc "+name+"(t *testing.T)") {
			return true
		}
	}
	return false
}
