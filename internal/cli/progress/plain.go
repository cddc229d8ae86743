package progress

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/sanitize"
)

// plain writes a line when a phase that took a while ends, and one now and then
// while it lasts: what a CI log needs to tell slow from stuck.
type plain struct {
	w   io.Writer
	now func() time.Time

	mu      sync.Mutex
	phase   Phase
	subject string
	start   time.Time
	last    time.Time
}

// plainEvery is how often a long phase says that it lives.
const plainEvery = 10 * time.Second

func (p *plain) Phase(phase Phase, subject string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.phase, p.subject, p.start, p.last = phase, subject, p.now(), p.now()
}

func (p *plain) Progress(a Amount) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.phase == "" || p.phase == Run {
		return
	}
	now := p.now()
	if now.Sub(p.last) < plainEvery {
		return
	}
	p.last = now
	p.say(heading(p.phase, p.subject), amount(a, p.start, now))
}

func (p *plain) Stage(text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.phase != "" {
		p.say(heading(p.phase, p.subject), text)
	}
}

func (p *plain) Done(summary string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.phase == "" {
		return
	}
	if p.phase != Run {
		p.say(heading(p.phase, p.subject), finished(summary, p.start, p.now()))
	}
	p.phase = ""
}

func (p *plain) Warn(text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	warnTo(p.w, text)
}

func (p *plain) Event(Event) {}

func (p *plain) Close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.phase = ""
}

func (p *plain) say(what, text string) {
	// Progress is a courtesy: a closed standard error must not end a build.
	_, _ = fmt.Fprintf(p.w, "%s\n", sanitize.Line(what+": "+text, maxLine))
}

// maxLine bounds what machines and files may have us say.
const maxLine = 16 << 10

func warnTo(w io.Writer, text string) {
	_, _ = fmt.Fprintf(w, "warning: %s\n", sanitize.Line(strings.TrimSpace(text), maxLine)) // as for say
}

func asFault(err error) (*fault.Error, bool) {
	var e *fault.Error
	ok := errors.As(err, &e)
	return e, ok
}
