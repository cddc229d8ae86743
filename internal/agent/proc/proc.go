// Package proc starts a command so that its whole process tree stays in hand:
// it can be signalled, and killed to the last process, also by somebody who
// did not start it.
//
// On Unix the command gets a session of its own, and every process of the tree
// inherits [Marker] in its environment, so one that left the session and was
// orphaned is found again: on Linux in /proc, on macOS through sysctl. On
// Linux the starter adopts orphans too. On Windows the tree is a job object
// that the kernel kills with its last handle.
//
// Root on Linux also puts the tree into a control group, which no process leaves by itself
// and which outlives the starter.
//
// What cannot be found without one: on macOS a process that left the session, lost its
// parent and dropped its environment; on Linux such a process is killed when
// the starter's last run ends, unless it has killed the starter.
package proc

import (
	"fmt"
	"io"
	"os"

	"outrigger.dev/outrigger/internal/wire"
)

// Marker is the environment variable whose value is the run's identity.
const Marker = "OUTRIGGER_RUN"

// A Spec is a command with nothing left to look up.
type Spec struct {
	ID   string // unique on the machine; becomes the value of Marker
	Path string // of the program, absolute
	Argv []string
	Env  []string
	Dir  string
	TTY  *wire.WinSize // nil: pipes
	// Group is the control group that the tree is put into on Linux, where that can be had: what is
	// in it is found whatever it does ([KillGroup]).
	Group string
	Umask *int // nil: that of the starter
	// ErrPipe: with a TTY, standard error is a pipe all the same. Not on Windows.
	ErrPipe bool
}

// A Process is a command under way.
type Process struct {
	// Stdin is closed to say that there is no more; on a terminal see EndInput.
	Stdin io.WriteCloser
	// Stdout and Stderr end when no process holds their other end. Stderr is nil if it is the terminal.
	Stdout, Stderr *os.File

	id Identity
	os osProcess
}

// Identity returns what another process needs to kill the tree.
func (p *Process) Identity() Identity { return p.id }

// An Identity names a process tree beyond the life of its starter. Process
// numbers are used again; a number with a start time and a boot is not.
type Identity struct {
	ID    string `json:"id"`
	PID   int    `json:"pid"`
	Start uint64 `json:"start"`          // of PID, in the system's own unit
	Boot  string `json:"boot,omitempty"` // which start of the machine
}

// String names the process.
func (id Identity) String() string { return fmt.Sprintf("%d:%d", id.PID, id.Start) }

// A Status is how a main process ended.
type Status struct {
	Code   int
	Signal string // without SIG, "" if it exited
	SigNum int
	MaxRSS int64 // bytes, 0: unknown
}
