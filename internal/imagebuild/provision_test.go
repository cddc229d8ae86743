//go:build unix

package imagebuild_test

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/imagebuild"
	"outrigger.dev/outrigger/internal/reach/deliver"
	"outrigger.dev/outrigger/test/agents"
	"outrigger.dev/outrigger/test/sshd"
)

// A site is a machine and how it is reached.
type site struct {
	*sshd.Server
	options imagebuild.Options
}

func start(t *testing.T) site {
	t.Helper()
	return site{sshd.Start(t, sshd.Options{}), imagebuild.Options{Agents: deliver.Dirs(agents.Dir(t))}}
}

// provision carries out a recipe and returns what the script said.
func (s site) provision(t *testing.T, r imagebuild.Recipe) (string, error) {
	t.Helper()
	var out bytes.Buffer
	err := imagebuild.Provision(t.Context(), s.Endpoint(), s.options, r, &out)
	return out.String(), err
}

// has reads a file of the machine.
func (s site) has(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(s.Home, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// left is what is in the machine's home folder.
func (s site) left(t *testing.T) []string {
	t.Helper()
	entries, err := os.ReadDir(s.Home)
	if err != nil {
		t.Fatal(err)
	}
	names := []string{}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func TestTheMachineIsAsTheRecipeSaysAndNothingElseIsThere(t *testing.T) {
	s := start(t)
	dir := s.Dir(t)
	out, err := s.provision(t, imagebuild.Recipe{
		Script: []byte("echo \"in $PWD\"\n. ./tools.sh\nset -- a b\nhello \"$@\" >made\nsleep 1000 &\necho err >&2\n"),
		Files: []imagebuild.File{
			{Path: "~/tools.sh", Mode: 0o640, Content: []byte("hello() { echo hello $# ${0##*/}; }\n")},
			{Path: dir + "/sub/it's data", Mode: 0o755, Content: []byte{0, 1, '\n'}},
		},
	})
	if err != nil {
		t.Fatal(err, out)
	}
	// Output and errors are two streams: each is in order, and neither waits for the other.
	if want := "in " + s.Home + "\n"; out != want+"err\n" && out != "err\n"+want {
		t.Errorf("said %q, want %q and err", out, want)
	}
	if got := s.has(t, "made"); got != "hello 2 script\n" {
		t.Errorf("made: %q", got)
	}
	info, err := os.Stat(filepath.Join(dir, "sub", "it's data"))
	if err != nil || info.Mode() != 0o755 || info.Size() != 3 {
		t.Errorf("file: %v, %v", info, err)
	}
	if diff := cmp.Diff([]string{"made", "tools.sh"}, s.left(t)); diff != "" {
		t.Errorf("left in the home folder (-want +got):\n%s", diff)
	}
}

func TestTheLineThatFailed(t *testing.T) {
	s := start(t)
	for _, tt := range []struct {
		name, script string
		want         imagebuild.ScriptError
		shells       string // those of bash, sh, zsh that it is for; "": all
	}{
		{
			"a command", "true\necho a\nfalse\necho b\n",
			imagebuild.ScriptError{Line: 3, Command: "false", ExitCode: 1, Tail: "a"}, "",
		},
		{
			"the last line, without an end", "true\ngrep -q x /dev/null",
			imagebuild.ScriptError{Line: 2, Command: "grep -q x /dev/null", ExitCode: 1}, "",
		},
		{
			"in a function", "install() {\n\ttrue\n\tls --no-such >/dev/null 2>&1\n}\n\ninstall\n",
			imagebuild.ScriptError{Line: 3, Command: "ls --no-such > /dev/null 2>&1", ExitCode: 2, Inside: "called from line 6"}, "bash sh",
		},
		{
			"in a function", "install() {\n\ttrue\n\tls --no-such >/dev/null 2>&1\n}\n\ninstall\n",
			imagebuild.ScriptError{Line: 3, Command: "ls --no-such >/dev/null 2>&1", ExitCode: 2, Inside: "called from line 6"}, "zsh",
		},
		{
			"the end of a pipeline", "true\nprintf 'a\\nb\\n' |\n\tgrep -q c\necho b\n",
			imagebuild.ScriptError{Line: 3, Command: "grep -q c", ExitCode: 1}, "",
		},
		{
			"within a pipeline, if the script minds", "set -o pipefail\necho a\nfalse | cat\n",
			imagebuild.ScriptError{Line: 3, ExitCode: 1, Tail: "a"}, "bash zsh",
		},
		{
			"exit", "echo a\nif true; then\n\texit 3\nfi\n",
			imagebuild.ScriptError{Line: 3, Command: "exit 3", ExitCode: 3, Tail: "a"}, "",
		},
		{
			"exit in a subshell", "true\n(\n\ttrue\n\texit 4\n)\n",
			imagebuild.ScriptError{Line: 4, Command: "exit 4", ExitCode: 4}, "",
		},
		{
			"exit by the script's own trap", "trap 'code=$?; echo cleaned; exit $code' EXIT\ntrue\n\nfalse\n",
			imagebuild.ScriptError{Line: 4, Command: "false", ExitCode: 1, Tail: "cleaned"}, "",
		},
		{
			"exit after what was looked at", "set +e\nfalse\nfalse\nset -e\necho go on\nexit 9\n",
			imagebuild.ScriptError{Line: 6, Command: "exit 9", ExitCode: 9, Tail: "go on"}, "",
		},
		{
			"a command that is not there", "true\nno-such-command --now 2>/dev/null\n",
			imagebuild.ScriptError{Line: 2, Command: "no-such-command --now 2> /dev/null", ExitCode: 127}, "bash sh",
		},
		{
			"what is no command", "echo a\necho b\nif then\n",
			imagebuild.ScriptError{Line: 3, Command: "if then", ExitCode: 2}, "bash sh",
		},
		{
			"a variable that is not set", "set -u\necho a\necho \"$nope\"\n",
			imagebuild.ScriptError{Line: 3, Command: `echo "$nope"`, ExitCode: 1}, "",
		},
		{
			"a signal", "echo a\nsh -c 'kill -TERM $$'\n",
			imagebuild.ScriptError{Line: 2, Command: "sh -c 'kill -TERM $$'", ExitCode: 143}, "bash sh",
		},
		{
			"several lines of one command", "true\nls \\\n\t--no-such-a \\\n\t--no-such-b >/dev/null 2>&1\n",
			imagebuild.ScriptError{Line: 2, Command: "ls --no-such-a --no-such-b > /dev/null 2>&1", ExitCode: 2}, "bash sh",
		},
		{
			"in a file that is read", "echo a >&2\ncd ~; . ./inner.sh\n",
			imagebuild.ScriptError{Line: 2, Command: "cd ~; . ./inner.sh", ExitCode: 1, Tail: "a", Inside: "inner.sh:3: false"}, "bash sh",
		},
		{
			"in a file that is read", "echo a >&2\ncd ~; . ./inner.sh\n",
			imagebuild.ScriptError{Line: 2, Command: "cd ~; . ./inner.sh", ExitCode: 1, Tail: "a", Inside: "inner.sh:3"}, "zsh",
		},
	} {
		for _, shell := range []string{"bash", "sh", "zsh"} {
			if tt.shells != "" && !strings.Contains(" "+tt.shells+" ", " "+shell+" ") {
				continue
			}
			t.Run(tt.name+"/"+shell, func(t *testing.T) {
				if _, err := exec.LookPath(shell); err != nil {
					t.Skipf("no %s here", shell)
				}
				_, err := s.provision(t, imagebuild.Recipe{
					Script: []byte("#!/usr/bin/env " + shell + "\n" + tt.script),
					Files:  []imagebuild.File{{Path: "~/inner.sh", Mode: 0o644, Content: []byte("# reads\n\nfalse\n")}},
				})
				var got *imagebuild.ScriptError
				if !errors.As(err, &got) || !fault.Is(err, fault.ScriptFailed) {
					t.Fatalf("got %v, want a failed script", err)
				}
				want := tt.want
				want.Line++ // the interpreter line
				if strings.HasPrefix(want.Inside, "called from") {
					want.Inside = "called from line 7"
				}
				if want.Command == "" {
					want.Command = got.Command // what of a pipeline is told differs
				}
				if want.Tail == "" {
					got.Tail = ""
				}
				if diff := cmp.Diff(want, *got); diff != "" {
					t.Errorf("(-want +got):\n%s\n%v", diff, err)
				}
				if code := fault.ExitCode(err); code != want.ExitCode {
					t.Errorf("the program would end with %d, want %d", code, want.ExitCode)
				}
			})
		}
	}
}

func TestWithoutAnInterpreterLineAFailedCommandEndsIt(t *testing.T) {
	s := start(t)
	out, err := s.provision(t, imagebuild.Recipe{Script: []byte("echo a\nfalse\necho b\n")})
	if want := "script: line 2: false: exit code 1"; err == nil || err.Error() != want || out != "a\n" {
		t.Errorf("got %v and %q, want %s", err, out, want)
	}
	// What failed may be mended there and tried again.
	if out, err = s.provision(t, imagebuild.Recipe{Script: []byte("echo a\ntrue\n")}); err != nil {
		t.Errorf("the next script: %v, %s", err, out)
	}
}

func TestAnotherInterpretersWordsAreSearchedForTheLine(t *testing.T) {
	if _, err := exec.LookPath("python3"); err != nil {
		t.Skip("no python3 here")
	}
	s := start(t)
	_, err := s.provision(t, imagebuild.Recipe{Script: []byte("#!/usr/bin/env python3\nprint('a')\n\nraise SystemError('no')\n")})
	if want := "script: line 4: raise SystemError('no'): exit code 1"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestFilesWhereTheUserMayNotWriteAreNamed(t *testing.T) {
	s := start(t)
	if s.User == "root" {
		t.Skip("root may write anywhere")
	}
	_, err := s.provision(t, imagebuild.Recipe{
		Script: []byte("true\n"), Files: []imagebuild.File{{Path: "/usr/bin/tool", Mode: 0o755, Content: []byte("x")}},
	})
	if !fault.Is(err, fault.RemoteFile) || !strings.Contains(err.Error(), "/usr/bin/tool") {
		t.Errorf("got %v, want a fault of kind RemoteFile that names the file", err)
	}
}

// waiting writes what it is given, and closes seen once there is a line.
type waiting struct {
	bytes.Buffer
	seen chan struct{}
	once sync.Once
}

func (w *waiting) Write(b []byte) (int, error) {
	n, err := w.Buffer.Write(b)
	if bytes.Contains(w.Bytes(), []byte("waiting\n")) {
		w.once.Do(func() { close(w.seen) })
	}
	return n, err
}

func TestALostConnectionDoesNotEndTheScript(t *testing.T) {
	s := start(t)
	var lost, back atomic.Int32
	s.options.Lost = func(error) { lost.Add(1) }
	s.options.Back = func() { back.Add(1) }
	out := &waiting{seen: make(chan struct{})}
	done := make(chan error, 1)
	go func() {
		done <- imagebuild.Provision(t.Context(), s.Endpoint(), s.options, imagebuild.Recipe{
			Script: []byte("echo waiting\nmkfifo ~/go\ntouch ~/ready\nread x <~/go\necho \"$x\"\nrm ~/go ~/ready\n"),
		}, out)
	}()
	select {
	case <-out.seen:
	case err := <-done:
		t.Fatal(err)
	}
	s.Kill()
	for range 600 { // a deadline that a passing test never sees
		if _, err := os.Stat(filepath.Join(s.Home, "ready")); err == nil && back.Load() > 0 {
			break
		}
		select {
		case err := <-done:
			t.Fatalf("ended: %v", err)
		case <-time.After(100 * time.Millisecond):
		}
	}
	if err := os.WriteFile(filepath.Join(s.Home, "go"), []byte("went on\n"), 0); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if got := out.String(); got != "waiting\nwent on\n" || lost.Load() == 0 {
		t.Errorf("said %q, lost %d times, back %d times", got, lost.Load(), back.Load())
	}
	if left := s.left(t); len(left) > 0 {
		t.Errorf("left: %q", left)
	}
}
