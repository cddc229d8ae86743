package transfer_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/worksync/ignore"
)

// repository is what a Git repository with a submodule and a worktree looks like.
var repository = map[string]string{
	".git/HEAD": "ref: refs/heads/main\n", ".git/config": "[core]\n", ".git/refs/heads/main": "1\n", ".git/objects/12/34": "o",
	".git/hooks/pre-commit": "#!/bin/sh\n", ".git/info/attributes": "", ".git/info/exclude": "", ".git/index": "1",
	".git/modules/sub/HEAD": "x", ".git/modules/sub/objects/": "", ".git/modules/sub/refs/": "", ".git/modules/sub/config": "[core]\n",
	".git/worktrees/w/HEAD": "x", ".git/worktrees/w/commondir": "../..\n", ".git/worktrees/w/gitdir": "/x/.git\n",
	"sub/.git": "gitdir: ../.git/modules/sub\n", "sub/code": "1", "code": "1", ignore.FileName: "/.env\n", ".env": "SECRET=1",
	"bare/HEAD": "x", "bare/objects/": "", "bare/refs/": "", "bare/config": "[core]\n", "plain/config": "1", "plain/refs/": "",
}

// attack is what code on the machine does to that.
var attack = map[string]string{
	ignore.FileName: "# nothing\n", ".git/config": "[core]\nfsmonitor = evil\n", ".git/config.worktree": "evil", ".git/hooks/post-checkout": "evil",
	".git/hooks/pre-commit": "evil", ".git/info/attributes": "* filter=evil", ".git/commondir": "evil", ".git/CONFIG": "evil", ".git/Hooks/x": "evil",
	".git/modules/sub/config": "evil", ".git/modules/sub/hooks/x": "evil", ".git/worktrees/w/config.worktree": "evil", ".git/worktrees/w/commondir": "evil",
	".git/worktrees/w/gitdir": "evil", ".git/rebase-merge/git-rebase-todo": "exec evil", "sub/.git": "gitdir: ../evil", "bare/config": "evil",
	"bare/hooks/x": "evil", "deep/er/.git/config": "evil", "deep/er/.git/HEAD": "x", "deep/.Git": "evil", "deep/.g\u200cit/hooks/x": "evil", "deep/git~1/config": "evil",
	"new/HEAD": "x", "new/objects/": "", "new/refs/": "", "new/config": "evil", "plain/HEAD": "evil", "plain/objects/": "", "plain/config": "evil", ".OutriggerIgnore": "evil",
	".git/logs -> ../plain": "", ".git/modules/other -> ../../plain": "",
}

// honest is what such code may do as well.
var honest = map[string]string{
	".git/index": "2", ".git/refs/heads/main": "2\n", ".git/refs/heads/config": "3\n", ".git/objects/56/78": "o", ".git/ORIG_HEAD": "x", ".git/info/exclude": "*.o",
	"code": "2", "sub/code": "2", "hooks/mine": "x", "config": "x", "deep/er/file": "x", ".gitattributes": "x",
}

func TestWhatGitExecutesStaysAsItIsHere(t *testing.T) {
	p := newPair(t)
	write(t, p.near, repository)
	p.mustUp()
	before := snapshot(t, p.near)
	write(t, p.far, attack)
	write(t, p.far, honest)
	rep := p.mustBack()
	after := snapshot(t, p.near)
	want := map[string]string{}
	for path, line := range before {
		want[path] = line
	}
	for path, line := range snapshot(t, p.far) {
		if _, ok := honest[path]; ok || path == "deep" || path == "deep/er" || path == "hooks" || path == ".git/objects/56" {
			want[path] = line
		}
	}
	for path, line := range after {
		if want[path] != line && !strings.HasPrefix(line, "dir ") {
			t.Errorf("%s came: %s", path, line)
		}
	}
	for path, line := range want {
		if after[path] != line && !strings.HasPrefix(line, "dir ") {
			t.Errorf("%s is %q, want %q", path, after[path], line)
		}
	}
	said := strings.Join(rep.Warnings, "\n")
	for _, path := range []string{`".outriggerignore"`, `".git/config"`, "--take-git-config", "more"} {
		if !strings.Contains(said, path) {
			t.Errorf("warnings do not name %s:\n%s", path, said)
		}
	}

	// The next sync gives the machine what is here again, takes nothing away that
	// it made, and does not send what is excluded here.
	p.mustUp()
	far := snapshot(t, p.far)
	for _, path := range []string{".git/config", ".git/hooks/pre-commit", "sub/.git", ignore.FileName, "bare/config"} {
		if far[path] != after[path] {
			t.Errorf("%s on the machine is %q, here %q", path, far[path], after[path])
		}
	}
	for _, path := range []string{"deep/er/.git/config", ".git/hooks/post-checkout", "new/config"} {
		if far[path] == "" {
			t.Errorf("%s on the machine was deleted", path)
		}
	}
	if far[".env"] != "" {
		t.Error("what is excluded was sent")
	}
	if rep := p.mustBack(); rep.Files != 0 {
		t.Errorf("another sync back wrote %d files", rep.Files)
	}
}

func TestWhatGitExecutesIsTakenWhenAsked(t *testing.T) {
	p := newPair(t)
	p.takeGit = true
	write(t, p.near, repository)
	p.mustUp()
	write(t, p.far, map[string]string{".git/config": "mine", ".git/hooks/x": "mine", "deep/.git/config": "mine", ignore.FileName: "# nothing\n"})
	rep := p.mustBack()
	near := snapshot(t, p.near)
	far := snapshot(t, p.far)
	for _, path := range []string{".git/config", ".git/hooks/x", "deep/.git/config"} {
		if near[path] != far[path] {
			t.Errorf("%s is %q, want %q", path, near[path], far[path])
		}
	}
	if near[ignore.FileName] == far[ignore.FileName] || len(rep.Warnings) != 1 {
		t.Errorf("ignore file %q, warnings %q", near[ignore.FileName], rep.Warnings)
	}
}

// What the configuration here refers to is Git's too, wherever it lies.
func TestWhatGitIsPointedAtStaysAsItIsHere(t *testing.T) {
	p := newPair(t)
	write(t, p.near, map[string]string{".git/HEAD": "x", ".git/config": "[core]\nhooksPath = .husky\n[include]\npath = ../conf/git\n", "conf/git": "1", "conf/other": "1"})
	p.mustUp()
	write(t, p.far, map[string]string{".husky/pre-commit": "evil", "conf/git": "evil", "conf/other": "22"})
	p.mustBack()
	near := snapshot(t, p.near)
	if near[".husky"] != "" || near["conf/git"] == snapshot(t, p.far)["conf/git"] || near["conf/other"] != snapshot(t, p.far)["conf/other"] {
		t.Errorf("here: %v", near)
	}
}

func TestDeletedThereButGuardedHere(t *testing.T) {
	p := newPair(t)
	write(t, p.near, repository)
	p.mustUp()
	for _, name := range []string{ignore.FileName, ".git/hooks", ".git/config", "sub/.git", "bare/config"} {
		if err := os.RemoveAll(filepath.Join(p.far, name)); err != nil {
			t.Fatal(err)
		}
	}
	rep := p.mustBack()
	near := snapshot(t, p.near)
	for _, name := range []string{ignore.FileName, ".git/hooks/pre-commit", ".git/config", "sub/.git", "bare/config"} {
		if near[name] == "" {
			t.Errorf("%s was deleted here", name)
		}
	}
	if len(rep.Warnings) < 2 {
		t.Errorf("warnings %q", rep.Warnings)
	}
	p.mustUp()
	if diff := cmp.Diff(near[".git/config"], snapshot(t, p.far)[".git/config"]); diff != "" {
		t.Errorf("on the machine it was not restored:\n%s", diff)
	}
}

// A machine that puts a file in the place of a repository's folder must not
// have the repository deleted here.
func TestRepositoryThatBecameAFileThere(t *testing.T) {
	p := newPair(t)
	write(t, p.near, repository)
	p.mustUp()
	if err := os.RemoveAll(filepath.Join(p.far, ".git")); err != nil {
		t.Fatal(err)
	}
	write(t, p.far, map[string]string{".git": "gitdir: sub\n"})
	before := snapshot(t, p.near)
	if rep := p.mustBack(); rep.Deleted != 0 || len(rep.Warnings) == 0 {
		t.Errorf("report %+v", rep)
	}
	for path, line := range snapshot(t, p.near) {
		if before[path] != line {
			t.Errorf("%s is %q, was %q", path, line, before[path])
		}
	}
}

// The ignore file may be a link; then what it leads to says what is copied.
func TestLinkedIgnoreFile(t *testing.T) {
	p := newPair(t)
	write(t, p.near, map[string]string{"lists/ci": "secret\n", ".gitignore -> lists/ci": "", ignore.FileName + " -> .gitignore": "", "secret": "1", "code": "1"})
	p.mustUp()
	if far := snapshot(t, p.far); far["secret"] != "" || far["code"] == "" {
		t.Fatalf("on the machine: %v", far)
	}
	write(t, p.far, map[string]string{"lists/ci": "# nothing\n"})
	if err := os.Remove(filepath.Join(p.far, ".gitignore")); err != nil {
		t.Fatal(err)
	}
	write(t, p.far, map[string]string{".gitignore": "# nothing\n"})
	rep := p.mustBack()
	if said := strings.Join(rep.Warnings, "\n"); !strings.Contains(said, `".gitignore"`) || !strings.Contains(said, `"lists/ci"`) {
		t.Errorf("warnings %q", said)
	}
	p.mustUp()
	if far := snapshot(t, p.far); far["secret"] != "" || far["lists/ci"] != snapshot(t, p.near)["lists/ci"] {
		t.Errorf("on the machine: %v", far)
	}
}

func TestIgnoreFileThatCannotBeRead(t *testing.T) {
	p := newPair(t)
	write(t, p.near, map[string]string{ignore.FileName + " -> nowhere": "", "secret": "1"})
	if _, err := p.up(); !fault.Is(err, fault.LocalFile) {
		t.Errorf("got %v, want a fault of kind LocalFile", err)
	}
	if far := snapshot(t, p.far); len(far) != 0 {
		t.Errorf("copied all the same: %v", far)
	}
}
