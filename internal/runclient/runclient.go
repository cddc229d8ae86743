// Package runclient is the client's side of a run on a machine: it starts the
// run, carries its streams, and holds on to it across broken connections.
//
// A run is two logs (docs/design/run.md). The output log is the agent's; we
// acknowledge what we have written. The input log is ours: it keeps stdin,
// signals and window sizes until the agent has dealt with them. After a
// reconnect both sides continue from what the other one has, so nothing is
// lost or doubled, in either direction.
package runclient

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"time"

	"outrigger.dev/outrigger/internal/wire"
)

// Exit is what the program did.
type Exit = wire.RunExit

// A Dial opens a fresh connection to the agent's connect verb, on which this
// side's hello has been sent. It is one attempt; Run repeats it.
type Dial func(ctx context.Context) (*wire.Conn, error)

// Streams are the run's ends on this side. What is nil is absent: no In means
// that the program's stdin is at its end.
type Streams struct {
	// In is read until its end, or until Run returns; a Read that is under way
	// then is abandoned, and what it returns is lost.
	In       io.Reader
	Out, Err io.Writer
	// Signals are names without SIG: INT, TERM, HUP and KILL are sent to the run's whole process tree,
	// others, such as QUIT, USR1 and USR2, to its main process.
	Signals <-chan string
	// Resize follows the terminal's size; only for a run with a TTY.
	Resize <-chan wire.WinSize
}

// Options tune Run. The zero Options are fine.
type Options struct {
	Log *slog.Logger
	// Redial is how long to try to get back to the machine; 0: the run's
	// Absence and a little more, since afterwards there is nothing to come back to.
	Redial time.Duration
	// Ping is how often the connection is tried when it is quiet; 0: 5 s. A
	// connection that says nothing for three times as long counts as dead.
	Ping time.Duration
	// Answer is how long the answer to a start may take, and a Dial, before another connection is tried; 0: 30 s.
	Answer time.Duration
	// Where names the machine in faults; "": the machine.
	Where string
	// Resume joins the run of that name, if there is one, in the place of a client
	// that died: what that one acknowledged is not repeated.
	Resume bool
	// Attach joins the run, in the place of a client that died as with Resume, and never starts
	// it. It is as it would have been with its own client, but for the end of ctx, or of a stream of
	// ours: that leaves it alone. Of a run that is not there the fault is RunLost.
	Attach bool
	// Asked is called before a start is first sent: from then on there may be a run. It must not block.
	Asked func()
	// Started is called when the run is there. It must not block.
	Started func()
	// Lost and Back tell of a connection that broke, and of the run joined
	// again. They are called from one goroutine and must not block.
	Lost func(cause error)
	Back func()
	// Warn is given lines that the user should see, each once.
	Warn func(text string)
}

// Run starts spec and stays with it to its end. Exit is what the program did;
// err is what we failed to do, and then Exit says as much as is known. Faults:
// what a start is refused with (NotFound, NotExecutable, BadScript, …),
// MachineLost when no way back was found in time, RunLost when the machine does
// not know the run any more, TimedOut, DiskFull, and Interrupted when ctx
// was cancelled: then the agent is told to kill the run, for as long as its
// grace and a little more.
func Run(ctx context.Context, dial Dial, spec wire.RunSpec, streams Streams, opts Options) (Exit, error) {
	return newClient(dial, spec, streams, opts).run(ctx)
}

// Refused tells of an error of Run that the machine did not start the run, so that there is nothing of it.
func Refused(err error) bool {
	var r refusal
	return errors.As(err, &r)
}

// A refusal is the machine's answer to a start that it did not carry out.
type refusal struct{ error }

func (r refusal) Unwrap() error { return r.error }
