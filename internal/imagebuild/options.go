package imagebuild

import (
	"log/slog"
	"time"

	"outrigger.dev/outrigger/internal/reach"
	"outrigger.dev/outrigger/internal/reach/deliver"
)

// Options say how the machine is reached, and what is waited for. Only Agents is needed.
type Options struct {
	Agents deliver.Source
	Reach  reach.Options
	// Boot is how long the machine may take until SSH answers; 0: one attempt.
	Boot time.Duration
	// Absence is how long the script goes on while nobody is connected to the machine, and
	// how long we try to get back; 0: ten minutes.
	Absence time.Duration
	// Timeout ends the script; 0: none.
	Timeout time.Duration
	// Note is shown to people who ask who holds the machine.
	Note string
	Log  *slog.Logger // nil: silent

	// Stage, if not nil, is told what begins, one of the stages.
	Stage func(Stage)
	// Lost and Back, if not nil, are told of a connection that broke while the script runs,
	// and of the script joined again. They must not block.
	Lost func(cause error)
	Back func()
	// Warn, if not nil, is given lines that the user should see.
	Warn func(text string)
}

// A Stage is one of the long parts of a build.
type Stage string

// The stages, in their order.
const (
	Create  Stage = "create"
	Boot    Stage = "boot"
	Deliver Stage = "deliver"
	Copy    Stage = "copy"
	Run     Stage = "run"
	Clean   Stage = "clean"
	Save    Stage = "save"
	Release Stage = "release"
)

func (o Options) stage(s Stage) {
	if o.Stage != nil {
		o.Stage(s)
	}
}

func (o Options) withDefaults() Options {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Absence <= 0 {
		o.Absence = defaultAbsence
	}
	if o.Reach.Log == nil {
		o.Reach.Log = o.Log
	}
	return o
}

const defaultAbsence = 10 * time.Minute
