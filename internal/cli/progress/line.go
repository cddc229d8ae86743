package progress

import (
	"fmt"
	"io"
	"sync"
	"time"
	"unicode/utf8"

	"outrigger.dev/outrigger/internal/cli/term"
	"outrigger.dev/outrigger/internal/sanitize"
)

// line keeps one line of a terminal up to date.
type line struct {
	w    io.Writer
	now  func() time.Time
	size func() (term.Size, bool)
	dim  bool

	mu      sync.Mutex
	phase   Phase
	subject string
	stage   string
	amount  Amount
	start   time.Time
	tick    *time.Timer // redraws; nil while nothing is shown
	drawn   bool        // the line holds our text
}

// redrawEvery is fast enough to look alive and slow enough for a serial console.
const redrawEvery = 100 * time.Millisecond

func newLine(t *term.IO) *line {
	return &line{w: t.Err, now: t.Now, size: t.Size, dim: t.Colour(t.Err)}
}

func (l *line) Phase(p Phase, subject string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.erase()
	l.phase, l.subject, l.stage, l.amount, l.start = p, subject, "", Amount{}, l.now()
	l.stop()
	if p == Run {
		return // the terminal belongs to the command now
	}
	l.draw()
	l.tick = time.AfterFunc(redrawEvery, l.redraw)
}

func (l *line) Progress(a Amount) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.amount = a
}

func (l *line) Stage(text string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stage = text
}

func (l *line) Done(summary string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.phase == "" {
		return
	}
	l.stop()
	l.erase()
	if l.phase != Run {
		l.print(sanitize.Line(heading(l.phase, l.subject)+": "+finished(summary, l.start, l.now()), maxLine), "\n")
	}
	l.phase = ""
}

func (l *line) Warn(text string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.erase()
	if l.phase == Run { // the terminal may be raw: a line feed alone does not go back to the first column
		_, _ = io.WriteString(l.w, "\r\n")
		defer func() { _, _ = io.WriteString(l.w, "\r") }()
	}
	warnTo(l.w, text)
}

func (l *line) Event(Event) {}

func (l *line) Close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stop()
	l.erase()
	l.phase = ""
}

// redraw runs on the timer's goroutine. A redraw that was already on its way
// when stop was called finds tick nil.
func (l *line) redraw() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.tick == nil {
		return
	}
	l.draw()
	l.tick.Reset(redrawEvery)
}

func (l *line) stop() {
	if l.tick != nil {
		l.tick.Stop()
		l.tick = nil
	}
}

func (l *line) draw() {
	text := heading(l.phase, l.subject) + ": "
	if l.stage != "" {
		text += l.stage + ", "
	}
	text += amount(l.amount, l.start, l.now())
	l.erase()
	l.print(l.fit(text), "")
	l.drawn = true
}

func (l *line) erase() {
	if l.drawn {
		_, _ = io.WriteString(l.w, "\r\x1b[K") // as for plain.say
		l.drawn = false
	}
}

func (l *line) print(text, end string) {
	if l.dim {
		text = "\x1b[2m" + text + "\x1b[0m"
	}
	_, _ = fmt.Fprint(l.w, text, end) // as for plain.say
}

// fit cuts text so that it never wraps: a wrapped line cannot be rewritten.
func (l *line) fit(text string) string {
	width := 80
	if s, ok := l.size(); ok && s.Columns > 0 {
		width = s.Columns
	}
	text = sanitize.Line(text, maxLine)
	if utf8.RuneCountInString(text) < width {
		return text
	}
	runes := []rune(text)
	return string(runes[:max(width-2, 0)]) + "…"
}
