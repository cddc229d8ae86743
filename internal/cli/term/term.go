// Package term is what a command touches of its surroundings: streams,
// arguments, environment, clock and the terminal, in one value, so that a
// command is a function that a test can call.
package term

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	xterm "golang.org/x/term"
)

// An IO is one program's view of the outside. Streams that are *os.File may be
// terminals; anything else never is.
type IO struct {
	In      io.Reader
	Out     io.Writer // what was asked for, and nothing else
	Err     io.Writer // progress, warnings, errors
	Program string    // the program's name, without folders
	Args    []string  // without the program's name
	Environ []string  // "KEY=value"
	Now     func() time.Time
}

// System returns this process's own surroundings.
func System() *IO {
	return &IO{
		In:      os.Stdin,
		Out:     os.Stdout,
		Err:     os.Stderr,
		Program: filepath.Base(os.Args[0]),
		Args:    os.Args[1:],
		Environ: os.Environ(),
		Now:     time.Now,
	}
}

// Getenv returns the value of key, "" when it is not set. As in exec.Cmd the
// last of several counts.
func (t *IO) Getenv(key string) string {
	for i := len(t.Environ) - 1; i >= 0; i-- {
		if k, v, ok := strings.Cut(t.Environ[i], "="); ok && k == key {
			return v
		}
	}
	return ""
}

// InIsTerminal tells whether somebody types.
func (t *IO) InIsTerminal() bool { return isTerminal(t.In) }

// OutIsTerminal tells whether the output is read by a person as it comes.
func (t *IO) OutIsTerminal() bool { return isTerminal(t.Out) }

// ErrIsTerminal tells whether progress may rewrite its line.
func (t *IO) ErrIsTerminal() bool { return isTerminal(t.Err) && t.Getenv("TERM") != "dumb" }

// IsTerminal tells whether a stream is a terminal, of whatever kind.
func (t *IO) IsTerminal(stream any) bool { return isTerminal(stream) }

// Colour tells whether w, one of the streams, may be coloured:
// https://no-color.org, and only where a person looks.
func (t *IO) Colour(w io.Writer) bool {
	return isTerminal(w) && t.Getenv("NO_COLOR") == "" && t.Getenv("TERM") != "dumb"
}

func isTerminal(stream any) bool {
	f, ok := stream.(*os.File)
	return ok && f != nil && xterm.IsTerminal(int(f.Fd()))
}
