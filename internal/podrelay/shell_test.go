//go:build linux

package podrelay_test

import (
	"bufio"
	"io"
	"strings"
	"testing"

	"github.com/creack/pty"
)

func TestShellIsWhereTheCommandIs(t *testing.T) {
	p := newPod(t)
	ws := p.at("workspace")
	c := p.container("main", view("v0", ws))
	c.plan.WorkDir, c.plan.Env, c.env = ws, []string{"DECLARED"}, []string{"DECLARED=x", "OTHER=y"}
	c.mount("ws", ws)
	run := c.start("/bin/sh", "-c", "echo made > f; echo ready; while [ ! -e stop ]; do sleep 0.02; done")
	run.await("ready")
	cmd := c.command("shell", "/bin/sh", "-c", `pwd; cat f -; echo "$DECLARED/$OTHER/$1"; exit 4`, "sh", `a "b' $c`)
	cmd.Stdin = strings.NewReader("typed\n")
	if got := c.finish(cmd); got != (result{4, ws + "\nmade\ntyped\nx//a \"b' $c\n", ""}) {
		t.Errorf("%+v", got)
	}
	if got := c.finish(c.command("relay", "shell", "--", "no-such-command")); got.code != 127 || strings.Count(got.errs, "no-such-command") != 1 {
		t.Errorf("%+v, want to be told once", got)
	}
	c.machine("touch stop")
	if got := run.end(); got != (result{0, "ready\n", ""}) {
		t.Errorf("%+v", got)
	}
	// Afterwards too.
	if got := c.machine("cat f"); got != "made\n" {
		t.Errorf("f is %q", got)
	}
}

func TestShellBeforeTheCommand(t *testing.T) {
	p := newPod(t)
	c := p.container("main", view("v0", p.at("workspace")))
	c.plan.WorkDir = p.at("workspace")
	if got := c.machine("echo here"); got != "here\n" {
		t.Errorf("%q", got)
	}
}

// What is typed before the machine has the lease is not lost with the attempt that finds it missing.
func TestShellBeforeTheCommandIsHeard(t *testing.T) {
	c := newPod(t).container("main")
	cmd := c.command("shell", "cat")
	cmd.Stdin = strings.NewReader("typed\n")
	if got := c.finish(cmd); got != (result{0, "typed\n", ""}) {
		t.Errorf("%+v", got)
	}
}

func TestShellAtATerminal(t *testing.T) {
	p := newPod(t)
	c := p.container("main")
	cmd := c.command("shell")
	ptmx, err := pty.StartWithSize(cmd, &pty.Winsize{Rows: 33, Cols: 99})
	p.must(err)
	defer ptmx.Close()
	words := bufio.NewReader(ptmx)
	until := func(want string) {
		t.Helper()
		var said strings.Builder
		for !strings.Contains(said.String(), want) {
			b, err := words.ReadByte()
			if err != nil {
				t.Fatalf("%v after %q, want %q", err, said.String(), want)
			}
			said.WriteByte(b)
		}
	}
	enter := func(s string) {
		if _, err := io.WriteString(ptmx, s); err != nil {
			t.Fatal(err)
		}
	}
	enter("stty size; echo lo''gin\n")
	until("33 99")
	until("login")
	p.must(pty.Setsize(ptmx, &pty.Winsize{Rows: 44, Cols: 111}))
	enter("while [ \"$(stty size)\" != '44 111' ]; do sleep 0.05; done; echo re''sized\n")
	until("resized")
	enter("exit 6\n")
	_, _ = io.Copy(io.Discard, words) // ends when the terminal does
	if err := cmd.Wait(); cmd.ProcessState.ExitCode() != 6 {
		t.Errorf("%v, want exit code 6", err)
	}
}

func TestAContainerWithATerminal(t *testing.T) {
	p := newPod(t)
	c := p.container("main")
	c.plan.TTY, c.plan.Stdin = true, true
	cmd := c.command("relay", "run", "--", "/bin/sh", "-c", "test -t 0 && test -t 1 && stty size; read x; echo got $x; exit 2")
	ptmx, err := pty.StartWithSize(cmd, &pty.Winsize{Rows: 20, Cols: 70})
	p.must(err)
	defer ptmx.Close()
	if _, err := io.WriteString(ptmx, "word\n"); err != nil {
		t.Fatal(err)
	}
	out, _ := io.ReadAll(ptmx) // ends with an error when the terminal does
	_ = cmd.Wait()             // its exit code is looked at
	if got := string(out); cmd.ProcessState.ExitCode() != 2 || !strings.Contains(got, "20 70\r\n") || !strings.Contains(got, "got word\r\n") {
		t.Errorf("exit code %d, %q", cmd.ProcessState.ExitCode(), got)
	}
}
