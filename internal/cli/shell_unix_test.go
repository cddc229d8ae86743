//go:build unix

package cli_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/creack/pty"
)

// A person sits at a real terminal and reads what stands there.
type person struct {
	ptmx *os.File
	done chan struct{}
	mu   sync.Mutex
	seen bytes.Buffer
}

func (p *person) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.seen.Write(b)
}

func (p *person) sees(what string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.Contains(p.seen.String(), what)
}

func (p *person) types(t *testing.T, keys string) {
	t.Helper()
	if _, err := io.WriteString(p.ptmx, keys); err != nil {
		t.Fatal(err)
	}
}

// await repeats try, if there is one, until the person sees what.
func (p *person) await(t *testing.T, what string, try func()) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !p.sees(what); <-time.After(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			p.mu.Lock()
			defer p.mu.Unlock()
			t.Fatalf("no %q on the terminal: %q", what, p.seen.String())
		}
		if try != nil {
			try()
		}
	}
}

// outrigger returns this binary as that command, in a home of its own.
func outrigger(t *testing.T, home, agents string, args ...string) *exec.Cmd {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe)
	cmd.Args = append([]string{"outrigger"}, args...)
	cmd.Env = []string{"HOME=" + home, "PATH=" + os.Getenv("PATH"), "TERM=xterm", "OUTRIGGER_AGENTS=" + agents}
	cmd.Dir = home
	return cmd
}

func TestAShellOnATerminal(t *testing.T) {
	home, agents := t.TempDir(), t.TempDir()
	buildAgent(t, agents)
	if out, err := outrigger(t, home, agents, "vm", "create", "--name", "box").CombinedOutput(); err != nil {
		t.Fatalf("vm create: %v\n%s", err, out)
	}
	t.Cleanup(func() {
		if out, err := outrigger(t, home, agents, "vm", "delete", "box").CombinedOutput(); err != nil {
			t.Errorf("vm delete: %v\n%s", err, out)
		}
	})
	cmd := outrigger(t, home, agents, "vm", "shell", "box")
	ptmx, err := pty.StartWithSize(cmd, &pty.Winsize{Rows: 24, Cols: 80})
	if err != nil {
		t.Fatal(err)
	}
	defer ptmx.Close()
	p := &person{ptmx: ptmx, done: make(chan struct{})}
	go func() {
		defer close(p.done)
		_, _ = io.Copy(p, ptmx) // ends with EIO when the last program has closed the terminal
	}()

	p.types(t, "test -t 0 && echo term=$TERM; stty size\r")
	p.await(t, "term=xterm", nil)
	p.await(t, "24 80", nil)

	// The window's size is followed.
	if err := pty.Setsize(ptmx, &pty.Winsize{Rows: 40, Cols: 132}); err != nil {
		t.Fatal(err)
	}
	p.await(t, "40 132", func() { p.types(t, "stty size\r") })

	// An interrupt is a key for the machine, not a signal for us.
	p.types(t, "trap 'echo inter''rupted' INT; echo rea''dy; sleep 600\r")
	p.await(t, "ready", nil)
	p.await(t, "interrupted", func() { p.types(t, "\x03") })
	p.types(t, "exit 9\r")
	var exit *exec.ExitError
	if err := cmd.Wait(); !errors.As(err, &exit) || exit.ExitCode() != 9 {
		t.Errorf("ended with %v, want exit code 9", err)
	}
	<-p.done
	if _, err := os.Stat(filepath.Join(home, ".local", "state", "outrigger", "ledger", "box.json")); err != nil {
		t.Errorf("the machine did not stay: %v", err)
	}
}
