package transfer_test

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// TestGitExecutesNothingOfTheMachines asks the real Git for the status of every
// folder after a machine has tried to make it execute something. Each attack is
// tried with the guard and, to see that it is one, without.
func TestGitExecutesNothingOfTheMachines(t *testing.T) {
	if runtime.GOOS == "windows" {
		return // what would be executed are shell scripts
	}
	for _, tt := range []struct {
		name          string
		near          map[string]string // beside a repository
		first, second map[string]string // what two runs write; EVIL is a command
	}{
		{"configuration", nil, map[string]string{".git/config": "[core]\nrepositoryformatversion = 0\nfsmonitor = EVIL\n"}, nil},
		{"a hook", nil, map[string]string{".git/hooks/post-index-change": "#!/bin/sh\nEVIL\n", "tracked": "changed"}, nil},
		{"a hook where hooks are", map[string]string{".husky/x": "", "hooksPath": ".husky"}, map[string]string{".husky/post-index-change": "#!/bin/sh\nEVIL\n", "tracked": "changed"}, nil},
		{"a file that is included", map[string]string{"include": "../shared.gitconfig", "shared.gitconfig": ""}, map[string]string{"shared.gitconfig": "[core]\nfsmonitor = EVIL\n"}, nil},
		{"a repository in a new folder", nil, map[string]string{
			"new/.git/HEAD": "ref: refs/heads/x\n", "new/.git/objects/": "", "new/.git/refs/": "", "new/.git/config": "[core]\nfsmonitor = EVIL\n",
		}, nil},
		{"a bare repository", nil, map[string]string{
			"new/HEAD": "ref: refs/heads/x\n", "new/objects/": "", "new/refs/": "", "new/config": "[core]\nrepositoryformatversion = 0\nbare = false\nworktree = .\nfsmonitor = EVIL\n",
		}, nil},
		{"a bare repository in two steps", nil, map[string]string{
			"data/config": "[core]\nrepositoryformatversion = 0\nbare = false\nworktree = .\nfsmonitor = EVIL\n", "data/objects/": "", "data/refs/": "",
		}, map[string]string{"data/HEAD": "ref: refs/heads/x\n"}},
		{"a file that says where the repository is", nil, map[string]string{
			"sub/.git": "gitdir: ../data\n", "data/config": "[core]\nfsmonitor = EVIL\n", "data/objects/": "", "data/refs/": "", "data/HEAD": "ref: refs/heads/x\n",
		}, nil},
		{"a link to a repository", nil, map[string]string{
			"sub/": "", "sub/.git -> ../data": "", "data/config": "[core]\nfsmonitor = EVIL\n", "data/objects/": "", "data/refs/": "", "data/HEAD": "ref: refs/heads/x\n",
		}, nil},
		{"a common folder elsewhere", nil, map[string]string{
			"sub/.git/HEAD": "ref: refs/heads/x\n", "sub/.git/commondir": "../../data\n", "data/config": "[core]\nfsmonitor = EVIL\n", "data/objects/": "", "data/refs/": "",
		}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if !gitIsMoved(t, tt.near, tt.first, tt.second, true) {
				t.Error("this is no attack")
			}
			if gitIsMoved(t, tt.near, tt.first, tt.second, false) {
				t.Error("Git executed what the machine wrote")
			}
		})
	}
}

// gitIsMoved tells whether Git executes something of the machine's.
func gitIsMoved(t *testing.T, near, first, second map[string]string, take bool) bool {
	t.Helper()
	p := newPair(t)
	p.takeGit = take
	mark := filepath.Join(t.TempDir(), "moved")
	run := func(dir string, args ...string) {
		cmd := exec.Command("git", args...)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null", "GIT_CEILING_DIRECTORIES="+filepath.Dir(p.near))
		if out, err := cmd.CombinedOutput(); err != nil && args[0] != "status" {
			t.Fatalf("git %v: %v\n%s", args, err, out)
		}
	}
	run(p.near, "init", "-q")
	write(t, p.near, map[string]string{"tracked": "1"})
	run(p.near, "add", "tracked")
	for name, content := range near {
		switch name {
		case "hooksPath":
			run(p.near, "config", "core.hooksPath", content)
		case "include":
			run(p.near, "config", "include.path", content)
		default:
			write(t, p.near, map[string]string{name: content})
		}
	}
	p.mustUp()
	for _, step := range []map[string]string{first, second} {
		written := map[string]string{}
		for name, content := range step {
			written[name] = strings.ReplaceAll(content, "EVIL", "touch "+mark)
		}
		write(t, p.far, written)
		for name, content := range step {
			if full := filepath.Join(p.far, name); content != "" && content[0] == '#' {
				if err := os.Chmod(full, 0o755); err != nil {
					t.Fatal(err)
				}
			}
		}
		p.mustBack()
	}
	err := filepath.WalkDir(p.near, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			run(path, "status")
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	_, err = os.Stat(mark)
	return err == nil
}
