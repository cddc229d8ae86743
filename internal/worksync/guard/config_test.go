package guard_test

import (
	"slices"
	"testing"

	"outrigger.dev/outrigger/internal/worksync/guard"
)

func TestReferred(t *testing.T) {
	for _, tt := range []struct {
		at, content string
		want        []string
	}{
		{".git/config", "[core]\n\thooksPath = .githooks\n", []string{".githooks"}},
		{"a/b/.git/config", "[Core]\r\n HOOKSPATH=\"./my hooks/\" # x\r\n", []string{"a/b/my hooks"}},
		{".git/config", "[include]\npath = ../.gitconfig ; x\n[includeIf \"gitdir:~/x\"] path = inc\n", []string{".gitconfig", ".git/inc"}},
		{".git/config", "[filter \"x\"]\n clean = ./tools/clean.sh \\\n --x %f\n[alias]\n go = !sh bin/go\n", []string{"tools/clean.sh", "bin/go"}},
		{".git/config", "[core]\n fsmonitor = \"/work/p/mon\"\n attributesFile = ../out\n pager = less\n", []string{"mon"}},
		{".git/config", "[remote \"origin\"]\n url = a/b\n[branch \"main\"]\n merge = refs/heads/main\n[core]\n worktree = ../x\n# hooksPath = x\n", nil},
		{".git/config", "[core]\nhooksPath = .\n", nil},
	} {
		if got := guard.Referred("/work/p", tt.at, tt.content); !slices.Equal(got, tt.want) {
			t.Errorf("%s with %q: %q, want %q", tt.at, tt.content, got, tt.want)
		}
	}
}
