package relay

import (
	"log/slog"
	"time"

	"outrigger.dev/outrigger/internal/machine"
	"outrigger.dev/outrigger/internal/runclient"
	"outrigger.dev/outrigger/internal/wire"
	"outrigger.dev/outrigger/internal/worksync/transfer"
)

// A Job is a command and the files that it works on.
type Job struct {
	Lease   Lease
	Files   Files
	Command wire.RunSpec // RunID, Lease and Absence are filled in
	Streams runclient.Streams
	// Signals are names without "SIG" that the user sends: INT, TERM, HUP.
	Signals <-chan string
	// Absence is how long the machine goes on without us, and we without it.
	Absence time.Duration
	Log     *slog.Logger
}

// A Lease names the folder on the machine that the job lives in.
type Lease struct {
	Name  string
	Owner machine.Owner
	Note  string // shown to people who ask who holds the machine
	// TTL is how long the lease outlives its last renewal.
	TTL time.Duration
	// End releases the lease when the job is over. It is for machines that
	// stay and folders that do not.
	End bool
}

// Files says what is synced.
type Files struct {
	Dir      string // the folder here; "": nothing is synced
	StateDir string // where its baseline is kept
	Exclude  []string
	TempTag  string
	Folder   string // below the lease's work folder; "": that folder itself
	At       string // absolute path on the machine under which the folder appears; "": none
}

// A Watcher hears how far a job is. Its methods must not block.
type Watcher interface {
	// Begin says which part begins. Synced or Ended says that it ended well.
	Begin(part Part)
	Progress(p transfer.Progress)
	Synced(part Part, r transfer.Report)
	// Ended tells that the command has ended.
	Ended()
	Warn(text string)
	// Lost and Back tell of a connection that broke, which we try to get again
	// for limit, and that came back.
	Lost(cause error, limit time.Duration)
	Back()
}

// A Part is one of the long parts of a job.
type Part string

// The parts, in their order.
const (
	Up   Part = "up"
	Run  Part = "run"
	Back Part = "back"
)

// A Result tells what became of a job, as far as it got.
type Result struct {
	// Ran tells that the command was started and its end is known: Exit.
	Ran  bool
	Exit runclient.Exit
	// Work is the lease's work folder on the machine.
	Work string
}
