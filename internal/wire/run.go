package wire

import "time"

// Methods that the daemon answers, on connections made by the agent's connect.
const (
	MethodRunStart  = "run.start"  // RunStart -> RunJoined, then run frames
	MethodRunAttach = "run.attach" // RunAttach -> RunJoined, then run frames
	MethodRunKill   = "run.kill"   // RunKill -> nothing
	MethodRunList   = "run.list"   // nothing -> RunList
	MethodDaemon    = "daemon"     // nothing -> Daemon
	MethodStop      = "stop"       // Stop -> nothing: the daemon kills its runs and ends
)

// A Daemon describes the process that starts runs. Its session is the runs'; that
// of [Info] is the session of the connection.
type Daemon struct {
	PID     int    `cbor:"1,keyasint"`
	Session string `cbor:"2,keyasint"` // as in Info
	Build   string `cbor:"3,keyasint"`
	Runs    int    `cbor:"4,keyasint,omitempty"` // that have not ended
	// Groups are those that the daemon's process is in, which its runs are in too.
	Groups []int `cbor:"5,keyasint,omitempty"`
}

// A Stop ends the daemon.
type Stop struct {
	// Idle: only if it has no runs and no other connection; else the answer is a fault of kind Busy.
	Idle bool `cbor:"1,keyasint,omitempty"`
}

// Frames that follow run.start and run.attach, in both directions. A run is two
// logs of records (see [AppendRecord]): output from the agent, input from the
// client. Each side sends a log's bytes with their position and acknowledges
// what the other has sent, so after a reconnect each continues where the other
// stands.
const (
	TypeRunLog  = TypeRunFirst + 0 // 8 bytes of position, then log bytes
	TypeRunAck  = TypeRunFirst + 1 // 8 bytes: everything before this position is dealt with
	TypeRunKill = TypeRunFirst + 2 // RunKill: the client asks that the run ends
)

// RunWindow is how many unacknowledged log bytes a sender may have under way.
// One SSH channel carries 2 MiB per round trip, so twice that never limits.
const RunWindow = 4 << 20

// Time limits of runs unless the client gives its own: guesses of what a
// build may want, not measured.
const (
	DefaultAbsence   = 10 * time.Minute
	DefaultKillGrace = 10 * time.Second
)

// A RunSpec is what to execute. Of Argv and Script one is given.
type RunSpec struct {
	// RunID is chosen by the client, a machine.Name; starting it again joins it.
	RunID string   `cbor:"1,keyasint"`
	Lease string   `cbor:"2,keyasint"`
	Argv  []string `cbor:"3,keyasint,omitempty"`
	// Script is the content of a file that is executed by its first line's
	// interpreter. Argv is then its arguments.
	Script []byte `cbor:"4,keyasint,omitempty"`
	// Env is "K=V", over the login shell's environment.
	Env []string `cbor:"5,keyasint,omitempty"`
	// Dir is where it starts: absolute, or below the lease's work folder.
	Dir string `cbor:"6,keyasint,omitempty"`
	// TTY gives the run a terminal of that size instead of pipes.
	TTY *WinSize `cbor:"7,keyasint,omitempty"`
	// Absence is how long the run goes on while no client is connected; 0: DefaultAbsence.
	Absence time.Duration `cbor:"8,keyasint,omitempty"`
	// Timeout ends the run; 0: none.
	Timeout time.Duration `cbor:"9,keyasint,omitempty"`
	// KillGrace is what is left to the run between being asked to end and
	// being killed; 0: DefaultKillGrace.
	KillGrace time.Duration `cbor:"10,keyasint,omitempty"`
	// SpoolLimit is how many output bytes may wait on the machine's disk before
	// the program has to; 0: the agent's own limit.
	SpoolLimit int64 `cbor:"11,keyasint,omitempty"`
	// Locale is the client's LANG and LC_*, as "K=V": for what the machine's login does not say itself.
	Locale []string `cbor:"20,keyasint,omitempty"`
	// ErrPipe has standard error be a pipe of its own where the rest is a terminal. Windows cannot.
	ErrPipe bool `cbor:"12,keyasint,omitempty"`
}

// A WinSize is that of a terminal, in characters.
type WinSize struct {
	Cols uint16 `cbor:"1,keyasint"`
	Rows uint16 `cbor:"2,keyasint"`
}

// A RunStart starts a run, or joins it if it has been started before.
type RunStart struct {
	Spec RunSpec       `cbor:"1,keyasint"`
	Ping time.Duration `cbor:"2,keyasint,omitempty"` // how often the client will be heard at least
	// Resume: the client may be the successor of one that died. It has nothing of
	// either log, and goes on where the other one was acknowledged.
	Resume bool `cbor:"3,keyasint,omitempty"`
}

// A RunAttach joins a run. One that the machine does not know is a fault of
// kind RunLost.
type RunAttach struct {
	RunID string        `cbor:"1,keyasint"`
	Lease string        `cbor:"2,keyasint"`
	Have  Pos           `cbor:"3,keyasint"` // the client has the output log up to here
	Ping  time.Duration `cbor:"4,keyasint,omitempty"`
	// Resume: as in RunStart, and Have says nothing.
	Resume bool `cbor:"5,keyasint,omitempty"`
}

// A RunJoined answers both.
type RunJoined struct {
	Have Pos `cbor:"1,keyasint"` // the agent has the input log up to here
	// Warnings are lines for the user, such as a login shell that hung.
	Warnings []string `cbor:"2,keyasint,omitempty"`
	// Over tells that the run takes no input any more, whatever Have says.
	Over bool `cbor:"3,keyasint,omitempty"`
	// From is where the output log goes on for a client that resumes.
	From Pos `cbor:"4,keyasint,omitempty"`
}

// A RunKill asks that a run ends: the whole tree is told (TERM), and killed after
// its grace.
type RunKill struct {
	RunID string `cbor:"1,keyasint,omitempty"` // not needed in a TypeRunKill frame
	Lease string `cbor:"2,keyasint,omitempty"`
	Now   bool   `cbor:"3,keyasint,omitempty"` // without grace
}

// A RunList tells of the runs that the daemon holds.
type RunList struct {
	Runs []RunState `cbor:"1,keyasint"`
}

// UnmarshalCBOR bounds the list, as that of a [LeaseList].
func (l *RunList) UnmarshalCBOR(b []byte) error {
	type plain RunList
	return fewMode.Unmarshal(b, (*plain)(l))
}

// A RunState is one run that the daemon holds.
type RunState struct {
	RunID    string    `cbor:"1,keyasint"`
	Lease    string    `cbor:"2,keyasint"`
	PID      int       `cbor:"3,keyasint"`
	Started  time.Time `cbor:"4,keyasint"`
	Attached bool      `cbor:"5,keyasint"`
	Ended    bool      `cbor:"6,keyasint"`
}

// An Ending says who ended a run.
type Ending string

// Who ended a run. The empty Ending is the program itself, or a signal that the
// user sent it.
const (
	EndedByAbsence Ending = "absence" // nobody was connected for too long
	EndedByTimeout Ending = "timeout"
	EndedByClient  Ending = "client"  // RunKill
	EndedByRelease Ending = "release" // the lease was released or expired
	EndedByFault   Ending = "fault"   // RunExit.Fault says which
)

// A RunExit is the last record of an output log.
type RunExit struct {
	Code   int    `cbor:"1,keyasint"`           // the program's own, if Signal is ""
	Signal string `cbor:"2,keyasint,omitempty"` // that ended it, without SIG: "KILL"
	SigNum int    `cbor:"3,keyasint,omitempty"`
	// Ending is not empty when we ended the run rather than the program itself.
	Ending  Ending        `cbor:"4,keyasint,omitempty"`
	Started time.Time     `cbor:"5,keyasint"` // by the machine's clock, to the second
	Took    time.Duration `cbor:"6,keyasint"`
	MaxRSS  int64         `cbor:"7,keyasint,omitempty"` // bytes, of the main process and its waited-for children; 0: unknown
	Fault   *Fault        `cbor:"8,keyasint,omitempty"` // what we failed to do
}
