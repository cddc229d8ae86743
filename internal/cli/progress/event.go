package progress

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"sync"
	"syscall"
	"time"
	"unicode/utf8"

	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/sanitize"
)

// An Event is one line of --output json. Names and meanings of the fields are a
// promise to scripts: fields may be added, never renamed. What is zero is left out.
//
//	event     fields besides "time"
//	phase     phase, subject             a phase began
//	progress  phase, files, filesTotal, bytes, bytesTotal
//	stage     phase, text
//	done      phase, seconds, text       the phase ended well
//	warning   text
//	machine   machine, provider, run     the machine that is made for the run
//	run       run, machine               the command starts; outrigger fetch gets its results if we are killed
//	retained  run, machine, until        results are not all here, and stay there until then
//	output    stream, text or base64     what the command printed
//	synced    phase, files, bytes, wireBytes, deleted, seconds
//	exit      exit, signal               how the command ended
//	error     kind, text, detail, remedy, exit   Outrigger itself failed
type Event struct {
	Event      string     `json:"event"`
	Time       time.Time  `json:"time"`
	Phase      Phase      `json:"phase,omitempty"`
	Subject    string     `json:"subject,omitempty"`
	Machine    string     `json:"machine,omitempty"`
	Provider   string     `json:"provider,omitempty"`
	Run        string     `json:"run,omitempty"`
	Until      *time.Time `json:"until,omitempty"`
	Stream     string     `json:"stream,omitempty"` // stdout or stderr
	Text       string     `json:"text,omitempty"`
	Base64     []byte     `json:"base64,omitempty"` // instead of text where it is not UTF-8
	Files      int64      `json:"files,omitempty"`
	FilesTotal int64      `json:"filesTotal,omitempty"`
	Bytes      int64      `json:"bytes,omitempty"` // of content
	BytesTotal int64      `json:"bytesTotal,omitempty"`
	WireBytes  int64      `json:"wireBytes,omitempty"`
	Deleted    int64      `json:"deleted,omitempty"`
	Seconds    float64    `json:"seconds,omitempty"`
	Exit       *int       `json:"exit,omitempty"`
	Signal     string     `json:"signal,omitempty"`
	Kind       fault.Kind `json:"kind,omitempty"`
	Detail     string     `json:"detail,omitempty"`
	Remedy     string     `json:"remedy,omitempty"`
}

// Fault is the event of err and the exit code that it leads to.
func Fault(err error) Event {
	code := fault.ExitCode(err)
	e := Event{Event: "error", Kind: fault.Of(err), Text: err.Error(), Remedy: fault.Remedy(err), Exit: &code}
	if f, ok := asFault(err); ok {
		e.Detail = f.Detail
	}
	return e
}

// events writes one JSON object a line.
type events struct {
	now func() time.Time

	mu    sync.Mutex
	w     io.Writer
	phase Phase
	start time.Time
	last  time.Time // when a progress event was last written
	lost  error     // the first event that could not be written
}

func newEvents(w io.Writer, now func() time.Time) *events {
	return &events{w: w, now: now}
}

// eventEvery bounds how many progress events a script has to read.
const eventEvery = time.Second

func (e *events) Phase(p Phase, subject string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.phase, e.start, e.last = p, e.now(), e.now()
	e.write(Event{Event: "phase", Phase: p, Subject: subject})
}

func (e *events) Progress(a Amount) {
	e.mu.Lock()
	defer e.mu.Unlock()
	now := e.now()
	if now.Sub(e.last) < eventEvery {
		return
	}
	e.last = now
	e.write(Event{Event: "progress", Phase: e.phase, Files: a.Files, FilesTotal: a.FilesTotal, Bytes: a.Bytes, BytesTotal: a.BytesTotal})
}

func (e *events) Stage(text string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.write(Event{Event: "stage", Phase: e.phase, Text: text})
}

func (e *events) Done(summary string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.phase == "" {
		return
	}
	e.write(Event{Event: "done", Phase: e.phase, Text: summary, Seconds: e.now().Sub(e.start).Seconds()})
	e.phase = ""
}

func (e *events) Warn(text string) { e.Event(Event{Event: "warning", Text: text}) }

func (e *events) Event(ev Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.write(ev)
}

func (e *events) Close() {}

func (e *events) write(ev Event) {
	if ev.Time.IsZero() {
		ev.Time = e.now().UTC()
	}
	if ev.Event != "output" { // which is the command's own, byte for byte
		ev.Subject, ev.Text = sanitize.Line(ev.Subject, maxLine), sanitize.Text(ev.Text, maxLine)
		ev.Signal, ev.Detail = sanitize.Line(ev.Signal, maxLine), sanitize.Text(ev.Detail, maxDetail)
		ev.Remedy = sanitize.Text(ev.Remedy, maxLine)
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(ev) // texts and numbers can always be encoded
	// A reader that went away does not end the run: its files come back. See [Lost].
	if _, err := e.w.Write(sanitize.JSON(b.Bytes())); err != nil && e.lost == nil {
		e.lost = err
	}
}

// Lost is the error of events of r that could not be written: who reads the rest takes them for all, the
// command's output among them. A reader that went away is a closed pipe, as of a command's own output.
func Lost(r Reporter) error {
	e, ok := r.(*events)
	if !ok {
		return nil
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case e.lost == nil, errors.Is(e.lost, syscall.EPIPE):
		return e.lost
	case errors.Is(e.lost, syscall.ENOSPC):
		return fault.New(fault.DiskFull, "events: %w", e.lost).WithRemedy("Free some space where standard output goes.")
	}
	return fault.New(fault.LocalFile, "events: %w", e.lost).WithRemedy("Look at where standard output goes.")
}

// maxDetail bounds the end of a console or the like.
const maxDetail = 256 << 10

// A Stream is a writer whose text becomes "output" events of r, in pieces as
// they come. Close says what is left.
type Stream struct {
	r    Reporter
	name string
	held []byte // the first bytes of a character whose rest has not come yet
}

// NewStream returns the Stream of that name: "stdout" or "stderr".
func NewStream(r Reporter, name string) *Stream { return &Stream{r: r, name: name} }

// Write implements [io.Writer]; it always takes all of b.
func (s *Stream) Write(b []byte) (int, error) {
	data := append(s.held, b...)
	whole := len(data) - unfinished(data)
	s.held = append([]byte(nil), data[whole:]...)
	s.emit(data[:whole])
	return len(b), nil
}

// Close emits a character that was never finished.
func (s *Stream) Close() error {
	s.emit(s.held)
	s.held = nil
	return nil
}

func (s *Stream) emit(b []byte) {
	switch {
	case len(b) == 0:
	case utf8.Valid(b):
		s.r.Event(Event{Event: "output", Stream: s.name, Text: string(b)})
	default:
		s.r.Event(Event{Event: "output", Stream: s.name, Base64: b})
	}
}

// unfinished counts the bytes at the end of b that may be the start of a
// character.
func unfinished(b []byte) int {
	for n := 1; n < utf8.UTFMax && n <= len(b); n++ {
		if tail := b[len(b)-n:]; utf8.RuneStart(tail[0]) {
			if utf8.FullRune(tail) {
				return 0
			}
			return n
		}
	}
	return 0
}
