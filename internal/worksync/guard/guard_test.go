package guard_test

import (
	"slices"
	"strings"
	"testing"

	"outrigger.dev/outrigger/internal/worksync/guard"
	"outrigger.dev/outrigger/internal/worksync/ignore"
	"outrigger.dev/outrigger/internal/worksync/tree"
)

// list makes entries, in walk order: "dir/", "link@", "file" and "file=2",
// which is a file with other content.
func list(words ...string) []tree.Entry {
	var all []tree.Entry
	for _, w := range words {
		e := tree.Entry{Path: w, Kind: tree.File, Mode: 0o644, Digest: tree.Digest{1}}
		switch last := len(w) - 1; {
		case w[last] == '/':
			e = tree.Entry{Path: w[:last], Kind: tree.Dir, Mode: 0o755}
		case w[last] == '@':
			e = tree.Entry{Path: w[:last], Kind: tree.Link, Target: "x"}
		case strings.HasSuffix(w, "=2"):
			e.Path, e.Digest[0] = w[:last-1], 2
		}
		all = append(all, e)
	}
	slices.SortFunc(all, func(a, b tree.Entry) int { return tree.Compare(a.Path, b.Path) })
	return all
}

func TestWithheld(t *testing.T) {
	for _, tt := range []struct {
		name      string
		near, far []tree.Entry
		want      []string // of Git's
	}{
		{"nothing of Git", list("a", "config", "hooks/", "hooks/x"), list("a=2", "config=2"), nil},
		{"the same on both sides", list(".git/", ".git/config"), list(".git/", ".git/config"), nil},
		{"configuration", list(".git/", ".git/config"), list(".git/", ".git/HEAD", ".git/config=2", ".git/index=2"), []string{".git/config"}},
		{"a new hook", list("d/", "d/.git/"), list("d/", "d/.git/", "d/.git/hooks/", "d/.git/hooks/x"), []string{"d/.git/hooks"}},
		{"names in other cases", list(".git/"), list(".git/", ".git/con\ufb01g", ".git/COMMONDIR", ".git/hoo\u212as/"), []string{".git/COMMONDIR", ".git/con\ufb01g", ".git/hoo\u212as"}},
		{"a new repository", nil, list("x/", "x/.git/", "x/.git/HEAD", "x/file"), []string{"x/.git"}},
		{"a new bare repository", nil, list("x/", "x/HEAD", "x/objects/", "x/refs/"), []string{"x"}},
		{"a folder becomes a repository", list("x/", "x/config", "x/refs/", "x/objects/"), list("x/", "x/HEAD", "x/config", "x/refs/", "x/objects/"), []string{"x/HEAD"}},
		{"through another one", list("x/", "x/config"), list("x/", "x/HEAD", "x/commondir", "x/config"), []string{"x/HEAD", "x/commondir"}},
		{"the root is a bare repository", list("HEAD", "objects/", "refs/", "config"), list("HEAD=2", "objects/", "refs/", "config=2"), []string{"config"}},
		{"a branch called config", list(".git/", ".git/refs/"), list(".git/", ".git/refs/", ".git/refs/config"), nil},
		{".git is a file", list("sub/", "sub/.git"), list("sub/", "sub/.git=2"), []string{"sub/.git"}},
		{".git becomes a link", list(".git/", ".git/HEAD"), list(".git@"), []string{".git"}},
		{"a link in it", list(".git/", ".git/info/"), list(".git/", ".git/info@"), []string{".git/info"}},
		{"hooks are gone", list(".git/", ".git/hooks/", ".git/hooks/x"), list(".git/"), []string{".git/hooks"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := guard.Lists{Base: tt.near, Near: tt.near, Far: tt.far}
			g := guard.New(l, guard.Options{})
			got := g.Withheld(l)
			if !slices.Equal(got.Git, tt.want) || got.IgnoreFile != nil {
				t.Errorf("withheld %q and %q, want %q", got.Git, got.IgnoreFile, tt.want)
			}
			for _, e := range g.Back(l).Far {
				if slices.Contains(tt.want, e.Path) {
					t.Errorf("%s is merged", e.Path)
				}
			}
			if w := guard.New(l, guard.Options{TakeGit: true}).Withheld(l); w.Git != nil {
				t.Errorf("although it is to be taken: %q", w.Git)
			}
		})
	}
}

func TestIgnoreFileIsGuardedInTheRootOnly(t *testing.T) {
	l := guard.Lists{Near: list("d/", "lists"), Far: list("d/", "d/"+ignore.FileName, ignore.FileName, ".OUTRIGGERIGNORE", "lists=2")}
	w := guard.New(l, guard.Options{IgnoreFile: []string{ignore.FileName, "lists"}}).Withheld(l)
	if want := []string{".OUTRIGGERIGNORE", ignore.FileName, "lists"}; !slices.Equal(w.IgnoreFile, want) {
		t.Errorf("got %q, want %q", w.IgnoreFile, want)
	}
}
