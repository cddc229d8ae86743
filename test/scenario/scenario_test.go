//go:build unix

package scenario

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"outrigger.dev/outrigger/test/program"
)

// limit is how long all scripts together may take: a script that hangs shows
// where, which the limit of go test itself does not.
const limit = 15 * time.Minute

// bin is the folder with the program and its agents.
var bin string

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	var err error
	if bin, err = os.MkdirTemp("", "outrigger-bin-"); err != nil {
		fmt.Fprintln(os.Stderr, "scenario:", err)
		return 1
	}
	defer os.RemoveAll(bin)
	if err := os.Chmod(bin, 0o755); err != nil { // some scripts are somebody else for a while
		fmt.Fprintln(os.Stderr, "scenario:", err)
		return 1
	}
	if err := program.Build(context.Background(), bin); err != nil {
		fmt.Fprintln(os.Stderr, "scenario:", err)
		return 1
	}
	return m.Run()
}

func TestScripts(t *testing.T) {
	// Names of Unix sockets lie below it and are limited to 107 bytes, which
	// the usual folder of a test would use up alone.
	root, err := os.MkdirTemp("", "or-")
	if err != nil {
		t.Fatal(err)
	}
	// The sessions of sshd are another user's when root runs the tests.
	if err := os.Chmod(root, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(root); err != nil {
			t.Error(err)
		}
	})
	testscript.Run(t, testscript.Params{
		Dir:                "scripts",
		WorkdirRoot:        root,
		RequireUniqueNames: true,
		Deadline:           time.Now().Add(limit),
		Setup:              setup,
		Condition:          condition,
		Cmds:               commands,
	})
}

// setup gives each script a home and a temporary folder of its own and looks
// after them when it has ended.
func setup(env *testscript.Env) error {
	tb := env.T().(testing.TB)
	home := filepath.Join(env.WorkDir, "home")
	for _, dir := range []string{home, filepath.Join(env.WorkDir, "tmp")} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	env.Setenv("HOME", home)
	env.Setenv("TMPDIR", filepath.Join(env.WorkDir, "tmp"))
	env.Setenv("PATH", bin+string(filepath.ListSeparator)+os.Getenv("PATH"))
	env.Setenv("BIN", bin)
	env.Setenv("SHELL", "/bin/sh")
	env.Setenv("USER", os.Getenv("USER"))
	env.Setenv("LC_ALL", "C.UTF-8")

	s := &story{tb: tb, work: env.WorkDir, vars: env.Vars, procs: map[string]*process{}}
	s.roots = []string{env.WorkDir}
	env.Values[storyKey{}] = s
	// Last in, first out: the servers that commands start are registered later and gone by then.
	tb.Cleanup(func() {
		s.stop()
		if !tb.Failed() && !tb.Skipped() {
			if err := s.nothingLeft(); err != nil {
				tb.Errorf("after the script: %v", err)
			}
		}
		s.sweep()
	})
	return nil
}

// condition knows [root].
func condition(cond string) (bool, error) {
	if cond == "root" {
		return os.Geteuid() == 0, nil
	}
	return false, fmt.Errorf("unknown condition %q", cond)
}
