package images

import (
	"bytes"
	"log/slog"
	"strings"
	"sync"
	"unicode/utf8"
)

// What of a build's output is kept for people: a screenful.
const (
	tailLines = 20
	tailBytes = 4 << 10
)

// A tail keeps the last lines of a build's output, and gives each line to the log, where all of them are.
type tail struct {
	log *slog.Logger

	mu    sync.Mutex
	lines []string
	rest  []byte // of a line that has not ended
}

// Write implements [io.Writer].
func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.rest = append(t.rest, b...)
	for {
		line, rest, ended := bytes.Cut(t.rest, []byte("\n"))
		if !ended && len(t.rest) < tailBytes {
			return len(b), nil
		}
		text := readable(line)
		t.rest = bytes.Clone(rest)
		t.log.Debug("build", "line", text)
		t.lines = append(t.lines, text)
		if over := len(t.lines) - tailLines; over > 0 {
			t.lines = append([]string(nil), t.lines[over:]...)
		}
	}
}

// readable is a line without what a terminal would act on.
func readable(line []byte) string {
	if i := bytes.LastIndexByte(bytes.TrimRight(line, "\r"), '\r'); i >= 0 {
		line = line[i+1:] // of a progress bar the last state
	}
	return strings.Map(func(c rune) rune {
		if c == '\t' {
			return ' '
		}
		if c < ' ' || c == 0x7f || c == utf8.RuneError {
			return -1
		}
		return c
	}, string(line))
}

// String is the end of the output.
func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	text := strings.Join(t.lines, "\n")
	if last := readable(t.rest); last != "" {
		text += "\n" + last
	}
	text = strings.TrimLeft(text, "\n")
	if len(text) > tailBytes {
		text = strings.ToValidUTF8(text[len(text)-tailBytes:], "")
	}
	return text
}
