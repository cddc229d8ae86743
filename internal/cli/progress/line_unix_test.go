//go:build unix

package progress

import (
	"bytes"
	"io"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/creack/pty"

	"outrigger.dev/outrigger/internal/cli/term"
)

// screen collects what a program writes to a real terminal.
type screen struct {
	tty  *os.File
	done chan struct{}
	mu   sync.Mutex
	all  bytes.Buffer
}

func newScreen(t *testing.T, columns uint16) *screen {
	t.Helper()
	ptmx, tty, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	if err := pty.Setsize(ptmx, &pty.Winsize{Rows: 24, Cols: columns}); err != nil {
		t.Fatal(err)
	}
	s := &screen{tty: tty, done: make(chan struct{})}
	go func() {
		defer close(s.done)
		_, _ = io.Copy(s, ptmx) // ends with EIO when the terminal is closed
	}()
	t.Cleanup(func() {
		tty.Close()
		<-s.done
		ptmx.Close()
	})
	return s
}

func (s *screen) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.all.Write(b)
}

func (s *screen) text() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.all.String()
}

func (s *screen) await(t *testing.T, what string) {
	t.Helper()
	s.until(t, what, func(text string) bool { return strings.Contains(text, what) })
}

func (s *screen) until(t *testing.T, what string, shows func(text string) bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !shows(s.text()); <-time.After(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("no %q on the screen: %q", what, s.text())
		}
	}
}

func TestATerminalShowsOneLineThatChanges(t *testing.T) {
	s := newScreen(t, 60)
	r := New(&term.IO{Err: s.tty, Environ: []string{"NO_COLOR=1"}, Now: time.Now}, Options{})
	r.Phase(SyncUp, "/src")
	r.Progress(Amount{Files: 3, FilesTotal: 9})
	s.await(t, "\r\x1b[Ksync up /src: 3/9 files")
	r.Progress(Amount{Files: 9, FilesTotal: 9})
	s.await(t, "\r\x1b[Ksync up /src: 9/9 files")
	r.Warn("careful")
	s.await(t, "\r\x1b[Kwarning: careful\r\n")
	r.Done("9 files")
	s.await(t, "sync up /src: 9 files, ")

	// While the command runs the terminal is its own.
	r.Phase(Run, "")
	before := s.text()
	r.Progress(Amount{Files: 1})
	r.Done("")
	r.Phase(Release, "run-abc")
	s.await(t, "release machine run-abc: ")
	if rest := strings.TrimPrefix(s.text(), before); !strings.HasPrefix(rest, "release machine") && !strings.HasPrefix(rest, "\r\x1b[Krelease machine") && rest != "" {
		t.Errorf("written while the command ran: %q", rest)
	}
	r.Close()
	s.until(t, "an empty last line", func(text string) bool { return lastLine(text) == "" })
}

// lastLine plays back what stands on the line of the cursor.
func lastLine(text string) string {
	text = text[strings.LastIndex(text, "\n")+1:]
	for _, part := range regexp.MustCompile("\r\x1b\\[K").Split(text, -1) {
		text = part
	}
	return text
}

func TestADumbTerminalAndAPipeGetPlainLines(t *testing.T) {
	s := newScreen(t, 60)
	r := New(&term.IO{Err: s.tty, Environ: []string{"TERM=dumb"}, Now: time.Now}, Options{})
	r.Phase(SyncUp, "/src")
	r.Done("9 files")
	r.Close()
	s.await(t, "sync up /src: 9 files, 0s\r\n")
	if strings.Contains(s.text(), "\x1b") {
		t.Errorf("escape sequences on a dumb terminal: %q", s.text())
	}
}
