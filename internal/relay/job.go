package relay

import (
	"context"
	"log/slog"
	"time"

	"outrigger.dev/outrigger/internal/machine"
	"outrigger.dev/outrigger/internal/runclient"
	"outrigger.dev/outrigger/internal/wire"
	"outrigger.dev/outrigger/internal/worksync/plan"
	"outrigger.dev/outrigger/internal/worksync/transfer"
)

// A Job is a command and the files that it works on.
type Job struct {
	Lease Lease
	// Files are synced at once, each over a connection of its own.
	Files []Files
	Links []Link
	// Base is what a relative Command.Dir is relative to: an absolute path on the
	// machine, or a folder below the lease's work folder.
	Base    string
	Command wire.RunSpec // Lease and Absence are filled in, and RunID if there is none
	Streams runclient.Streams
	// Signals are names without "SIG" that the user sends.
	Signals <-chan string
	// Grace, if not 0, makes signals be what they are in a container: all go to
	// the command, and what is left of it so long after a TERM is killed.
	Grace time.Duration
	// Warm says that the agent is on the machine already, as far as is known.
	Warm bool
	// Resume says that the run may have been started by somebody who died: it is
	// joined, and no files are brought up to it.
	Resume bool
	// Attach says that the run was started by somebody who died: it is joined as with Resume, but not
	// started if it is not there, and left alone when ctx ends. See runclient.Options.
	Attach bool
	// Over says that the command ended and only its files are to come back.
	Over bool
	// Starting is called when all is ready for the command, which it may change; an
	// error stops the job. Ended is called when the command's end is known and
	// its output written.
	Starting func(context.Context, *wire.RunSpec, wire.Lease) error
	Ended    func(runclient.Exit) error
	// Absence is how long the machine goes on without us, and we without it.
	Absence time.Duration
	Log     *slog.Logger
	Now     func() time.Time // the clock; nil: this computer's
}

// joins tells whether there may be a run already, to which no files are brought up.
func (j Job) joins() bool { return j.Resume || j.Attach }

// A Lease names the folder on the machine that the job lives in.
type Lease struct {
	Name  string
	Owner machine.Owner
	Note  string // shown to people who ask who holds the machine
	// TTL is how long the lease outlives its last renewal. If the results are to be had after a client
	// was killed, that is for how long.
	TTL time.Duration
	// Hold is how long after its last renewal the lease takes one of the machine's slots, while nothing
	// runs in it; 0: as long as it lives.
	Hold time.Duration
	// Known, if not zero, is when the machine made the lease: it is to be that one, and is not made
	// anew. What another one of the same name has is not of this run.
	Known time.Time
	// Renewed is called when the lease lives until then. May be nil.
	Renewed func(until time.Time)
	// End releases the lease when the job is over. It is for machines that
	// stay and folders that do not.
	End bool
}

// Files says what is synced.
type Files struct {
	Dir      string // the folder here
	StateDir string // where its baseline is kept
	Exclude  []string
	TempTag  string
	Folder   string   // below the lease's work folder; "": that folder itself
	Fixed    []string // mount points below Dir, see transfer.ClientConfig
	ProbeIn  string   // below Dir, likewise
	// AllowHere and AllowThere believe any loss of files, see transfer.ClientConfig.
	AllowHere, AllowThere bool
	// TakeGit and TakeSetID: likewise.
	TakeGit, TakeSetID bool
	// Prefer says which side is right about a path that both have changed, and
	// AsHere that the command could not read here what we cannot; both likewise.
	Prefer plan.Prefer
	AsHere bool
	// Only, if there are any, are the paths that come back, with what is below them.
	Only []string
	// Apart: Dir is not the folder that went up, but an empty one; see transfer.ClientConfig.
	Apart bool
	// Up: nothing comes back.
	Up bool
	// Alone: nobody here compares it with other files, so it comes back without waiting for those that
	// the command changed earlier.
	Alone bool
	// Hold is called before files are moved, and what it returns afterwards. It
	// keeps others from moving them meanwhile. May be nil.
	Hold func(context.Context) (release func(), err error)
	// Changed, if not nil, is asked every now and then during the run: when it
	// says yes, what changed here is brought up again.
	Changed func() bool
}

// A Link is a path under which a folder or file of the lease appears on the machine.
type Link struct {
	Path   string // absolute; with Inside below the lease's work folder
	Target string // below the lease's work folder
	Inside bool
	// Late: it is made inside of something that is synced, so after the files are up.
	Late bool
	Make bool // make the target an empty folder if there is none
	// Failed decides about a path that cannot be made; nil: it fails the job.
	Failed func(error) error
	// Rewritten is told that the path could not be made and is replaced in what
	// the command is made of. May be nil.
	Rewritten func(wire.LinkAnswer)
}

// A Watcher hears how far a job is. Its methods must not block, and may be
// called at once.
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
	// Started tells that the command may have been started, whether or not its end is known.
	Started bool
	// Whole tells that all that it wrote is here. A command that was Started and is not Whole has
	// results on the machine that are nowhere else.
	Whole bool
	// Unread tells that all is here but what the machine's login cannot read: looking at it on the machine is of
	// use, fetching it again by itself is not.
	Unread bool
	// Work is the lease's work folder on the machine.
	Work string
	// Left are the paths that stayed as they are, on the way up or back, while all
	// else was done. The job's error says so too.
	Left      []transfer.Left
	LeftCount int
}

// Incomplete tells that there may be results on the machine that are nowhere else.
func (r Result) Incomplete() bool { return r.Started && !r.Whole }
