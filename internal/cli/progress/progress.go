// Package progress tells people, or a script, how far a command is.
//
// One [Reporter] is driven by the command; [New] picks who listens: a line that
// rewrites itself on a terminal, plain lines elsewhere, events for scripts
// (--output json), or nobody (--quiet). Everything but events goes to standard
// error: standard output belongs to what the user's program prints.
package progress

import (
	"io"
	"time"

	"outrigger.dev/outrigger/internal/cli/term"
)

// A Phase is a part of a command that may take long. Its text is the value of
// the field "phase" in events.
type Phase string

// The phases, in the order in which a run passes them.
const (
	Create   Phase = "create"    // the provider makes the machine
	Boot     Phase = "boot"      // until SSH answers
	Deliver  Phase = "deliver"   // the agent is put in place
	SyncUp   Phase = "sync-up"   // files from here to the machine
	Run      Phase = "run"       // the user's command; the display keeps out of its way
	SyncBack Phase = "sync-back" // files from the machine to here
	Release  Phase = "release"   // the machine is given back
	Build    Phase = "build"     // an image is made
	Clean    Phase = "clean"     // what an image's build needed is removed
	Save     Phase = "save"      // a machine becomes an image
	Pull     Phase = "pull"      // the provider gets an image from elsewhere
	Copy     Phase = "copy"      // vm cp
	Collect  Phase = "collect"   // gc
)

// An Amount says how far a phase is. What is zero is not known.
type Amount struct {
	Files, FilesTotal int64
	Bytes, BytesTotal int64
}

// A Reporter hears how far a command is. Its methods may be called from any
// goroutine, and Progress as often as one likes: it is cheap.
type Reporter interface {
	// Phase begins a phase and ends the one before it. subject says of what:
	// a machine, a folder; it may be "".
	Phase(p Phase, subject string)
	// Progress says how far the phase is.
	Progress(a Amount)
	// Stage names what the phase does now, such as a step of an image build.
	Stage(text string)
	// Done ends the phase. summary is for people: "214 files, 3.1 MB"; it may be "".
	Done(summary string)
	// Warn tells of something that is not an error and should not be overlooked.
	Warn(text string)
	// Event tells scripts a fact; people do not see it. See [Event] for what is set.
	Event(e Event)
	// Close ends the display; after it nothing is shown. A phase that is not
	// Done is left as it is: it failed, and the error will say so.
	Close()
}

// Options choose the listener.
type Options struct {
	Quiet bool // nothing but warnings
	Plain bool // no rewriting of lines, even on a terminal (--verbose shares it with a log)
	JSON  bool // events on Out
}

// New returns the Reporter for what t is and o wants.
func New(t *term.IO, o Options) Reporter {
	switch {
	case o.JSON:
		return newEvents(t.Out, t.Now)
	case o.Quiet:
		return &quiet{w: t.Err}
	case t.ErrIsTerminal() && !o.Plain:
		return newLine(t)
	default:
		return &plain{w: t.Err, now: t.Now}
	}
}

// quiet shows warnings only.
type quiet struct{ w io.Writer }

func (q *quiet) Phase(Phase, string) {}
func (q *quiet) Progress(Amount)     {}
func (q *quiet) Stage(string)        {}
func (q *quiet) Done(string)         {}
func (q *quiet) Event(Event)         {}
func (q *quiet) Close()              {}
func (q *quiet) Warn(text string)    { warnTo(q.w, text) }

// since is rounded to what a person can use.
func since(start, now time.Time) time.Duration {
	switch d := now.Sub(start); {
	case d < 100*time.Millisecond:
		return d.Round(time.Millisecond)
	case d < 10*time.Second:
		return d.Round(100 * time.Millisecond)
	default:
		return d.Round(time.Second)
	}
}
