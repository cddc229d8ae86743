package manager

import (
	"os"
	"strings"
	"testing"

	"github.com/spf13/pflag"
)

// TestTheReferenceHasEveryFlag compares docs/reference/controller.md with --help.
func TestTheReferenceHasEveryFlag(t *testing.T) {
	b, err := os.ReadFile("../../../docs/reference/controller.md")
	if err != nil {
		t.Fatal(err)
	}
	newFlags().set.VisitAll(func(f *pflag.Flag) {
		if !strings.Contains(string(b), "`--"+f.Name+"`") {
			t.Errorf("--%s (%s) is not in docs/reference/controller.md", f.Name, f.Usage)
		}
	})
}
