//go:build unix

package term_test

import (
	"context"
	"os"
	"syscall"
	"testing"

	"github.com/creack/pty"
	xterm "golang.org/x/term"

	"outrigger.dev/outrigger/internal/cli/term"
)

// terminal is a real one, with its other end.
func terminal(t *testing.T) (ptmx, tty *os.File) {
	t.Helper()
	ptmx, tty, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tty.Close(); ptmx.Close() })
	return ptmx, tty
}

func TestATerminalHasASizeThatIsFollowed(t *testing.T) {
	ptmx, tty := terminal(t)
	resize := func(rows, columns uint16) {
		t.Helper()
		if err := pty.Setsize(ptmx, &pty.Winsize{Rows: rows, Cols: columns}); err != nil {
			t.Fatal(err)
		}
	}
	resize(24, 80)
	io := &term.IO{In: tty, Out: tty, Err: tty}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	sizes := make(chan term.Size)
	done := make(chan struct{})
	go func() {
		defer close(done)
		io.FollowSize(ctx, func(s term.Size) {
			select {
			case sizes <- s:
			case <-ctx.Done():
			}
		})
	}()
	if got := <-sizes; got != (term.Size{Columns: 80, Rows: 24}) {
		t.Errorf("first size %+v", got)
	}
	resize(50, 132)
	// This terminal is nobody's controlling one: the kernel sends no signal for it.
	if err := syscall.Kill(os.Getpid(), syscall.SIGWINCH); err != nil {
		t.Fatal(err)
	}
	if got := <-sizes; got != (term.Size{Columns: 132, Rows: 50}) {
		t.Errorf("second size %+v", got)
	}
	cancel()
	<-done
}

func TestRawGivesTheTerminalBack(t *testing.T) {
	_, tty := terminal(t)
	before, err := xterm.GetState(int(tty.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	io := &term.IO{In: tty, Out: tty, Err: tty}
	restore, err := io.Raw()
	if err != nil {
		t.Fatal(err)
	}
	raw, err := xterm.GetState(int(tty.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	if *raw == *before {
		t.Error("Raw changed nothing")
	}
	for range 2 {
		if err := restore(); err != nil {
			t.Fatal(err)
		}
	}
	after, err := xterm.GetState(int(tty.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	if *after != *before {
		t.Error("restore left the terminal changed")
	}
}

func TestColourIsForTerminalsAndNotWithNoColor(t *testing.T) {
	_, tty := terminal(t)
	for _, tt := range []struct {
		environ []string
		want    bool
	}{{nil, true}, {[]string{"NO_COLOR=1"}, false}, {[]string{"NO_COLOR="}, true}, {[]string{"TERM=dumb"}, false}} {
		if got := (&term.IO{Environ: tt.environ}).Colour(tty); got != tt.want {
			t.Errorf("%q: %v, want %v", tt.environ, got, tt.want)
		}
	}
}
