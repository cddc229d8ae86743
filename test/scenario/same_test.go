//go:build unix

package scenario

import (
	"crypto/sha256"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/testscript"
)

// same compares two trees.
func same(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, neg, len(args) == 2, "same A B")
	a, err := describe(ts.MkAbs(args[0]))
	ts.Check(err)
	b, err := describe(ts.MkAbs(args[1]))
	ts.Check(err)
	if diff := cmp.Diff(a, b); diff != "" {
		ts.Fatalf("trees differ (-%s +%s):\n%s", args[0], args[1], diff)
	}
}

// describe gives each name below dir a line that says what it is. Times of
// folders are left out: they change with what is in them.
func describe(dir string) (map[string]string, error) {
	tree := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		what := info.Mode().String()
		switch {
		case d.Type()&fs.ModeSymlink != 0:
			target, err := os.Readlink(path)
			if err != nil {
				return err
			}
			what = "link to " + target // its mode is nobody's choice
		case d.Type().IsRegular():
			content, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			what += fmt.Sprintf(" %s %x", info.ModTime().UTC(), sha256.Sum256(content))
		}
		tree[rel] = what
		return nil
	})
	return tree, err
}
