package doctor

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"outrigger.dev/outrigger/internal/cli/app"
	"outrigger.dev/outrigger/internal/doctor"
	"outrigger.dev/outrigger/internal/doctor/look"
	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/sanitize"
)

// A Line is one line of --output json. Names and meanings of the fields are a promise to
// scripts: fields may be added, never renamed.
//
//	event    fields
//	check    from, and those of the check: subject, check, state, reason, found, cause, cure
//	differs  checks, found, cause, cure    what is reached from here or from a Pod, not from both
//	end      ok, warnings, failed, skipped, exit
type Line struct {
	Event  string   `json:"event"`
	From   string   `json:"from,omitempty"` // here or pod
	Checks []string `json:"checks,omitempty"`
	*doctor.Result
	*Sum
}

// A Sum counts.
type Sum struct {
	OK       int `json:"ok"`
	Warnings int `json:"warnings"`
	Failed   int `json:"failed"`
	Skipped  int `json:"skipped"`
	Exit     int `json:"exit"`
}

// A sheet is where results are written, as they come.
type sheet struct {
	w      io.Writer
	json   bool
	colour bool
	title  string
	last   string // the subject of the line before
	sum    Sum
	err    error  // the first that writing gave
	from   string // here or pod

	// Beside each other, if a Pod looks too.
	namespace string          // of the Pod; "": none looks
	here, pod []doctor.Result // what was found
	shown     int             // so many of here are written
}

func newSheet(a *app.App, p look.Patient) *sheet {
	s := &sheet{w: a.IO.Out, from: "here", json: a.JSON(), colour: a.IO.Colour(a.IO.Out), title: fmt.Sprintf("provider %s (%s)", p.Name, p.Kind)}
	if p.Pool {
		s.title = fmt.Sprintf("pool %s (%s)", p.Name, p.Kind)
	}
	return s
}

// add writes a result.
func (s *sheet) add(r doctor.Result) {
	s.count(r)
	s.here = append(s.here, r)
	if s.json {
		s.line(Line{Event: "check", From: s.from, Result: &r})
		return
	}
	if s.namespace != "" {
		return // until it is known what a Pod finds
	}
	s.heading(r.Subject)
	s.printf("%s  %-*s  %s\n", s.state(r.State), checkWidth, r.Check, visible(r.Found))
	s.explain(r)
}

// Columns: the longest state, and the longest name of a check.
const (
	stateWidth = len("skipped")
	checkWidth = len("permission create images")
)

func (s *sheet) heading(subject string) {
	if subject == s.last {
		return
	}
	if s.last != "" {
		s.printf("\n")
	}
	s.last = subject
	if strings.HasPrefix(s.title, subject+" ") {
		subject = s.title
	}
	s.printf("%s\n", visible(subject))
}

var colours = map[doctor.State]string{doctor.OK: "\x1b[32m", doctor.Warning: "\x1b[33m", doctor.Failed: "\x1b[31m", doctor.Skipped: "\x1b[2m"}

func (s *sheet) state(st doctor.State) string {
	text := fmt.Sprintf("%-*s", stateWidth, st)
	if !s.colour {
		return text
	}
	return colours[st] + text + "\x1b[0m"
}

// explain writes below a line what is behind it.
func (s *sheet) explain(r doctor.Result) {
	if r.State == doctor.OK || r.State == doctor.Skipped {
		return
	}
	s.below("cause", r.Cause)
	s.below("cure", r.Cure)
}

func (s *sheet) below(word, text string) {
	if text == "" {
		return
	}
	indent := strings.Repeat(" ", stateWidth+2)
	for i, line := range strings.Split(strings.TrimRight(text, "\n"), "\n") {
		head := strings.Repeat(" ", len("cause: "))
		if i == 0 {
			head = fmt.Sprintf("%-7s", word+": ")
		}
		s.printf("%s\n", strings.TrimRight(indent+head+visible(line), " "))
	}
}

// visible makes one line of what others say.
func visible(text string) string { return sanitize.Line(text, maxLine) }

const maxLine = 16 << 10

func (s *sheet) count(r doctor.Result) {
	switch r.State {
	case doctor.OK:
		s.sum.OK++
	case doctor.Warning:
		s.sum.Warnings++
	case doctor.Failed:
		s.sum.Failed++
	case doctor.Skipped:
		s.sum.Skipped++
	}
}

// end writes the sum and returns what the program's end is to be.
func (s *sheet) end() error {
	if s.sum.Failed > 0 {
		s.sum.Exit = fault.ExitOutrigger
	}
	if s.json {
		s.line(Line{Event: "end", Sum: &s.sum})
	} else {
		warnings := "warnings"
		if s.sum.Warnings == 1 {
			warnings = "warning"
		}
		s.printf("\n%d ok, %d %s, %d failed, %d skipped\n", s.sum.OK, s.sum.Warnings, warnings, s.sum.Failed, s.sum.Skipped)
	}
	switch {
	case s.err != nil:
		return s.err
	case s.sum.Exit != 0:
		return app.Exit(s.sum.Exit)
	}
	return nil
}

func (s *sheet) line(l Line) {
	b, err := json.Marshal(l)
	if err != nil {
		s.err = errors.Join(s.err, err)
		return
	}
	s.printf("%s\n", sanitize.JSON(b))
}

func (s *sheet) printf(format string, args ...any) {
	if s.err == nil {
		_, s.err = fmt.Fprintf(s.w, format, args...)
	}
}
