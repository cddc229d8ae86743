// Package fault says what can go wrong on our side, apart from what a user's
// program says of itself.
//
// Every failure that a person will read has a [Kind]. The table [Kinds] gives
// each kind its exit code, whether a retry may help, the reason word for
// conditions and metrics, the remedy and the place in docs/faults.md. A test
// walks the table, so a kind without its section in the documentation fails
// the build.
package fault

import (
	"errors"
	"fmt"
)

// A Kind names one way to fail. It is also the condition reason and the metric label.
type Kind string

// The kinds of fault.
const (
	Usage            Kind = "Usage"            // a flag or argument is wrong
	Config           Kind = "Config"           // the configuration file is wrong
	UnknownMachine   Kind = "UnknownMachine"   // no machine of that name
	UnknownProvider  Kind = "UnknownProvider"  // no provider of that name
	UnknownImage     Kind = "UnknownImage"     // no image of that name
	UnknownPool      Kind = "UnknownPool"      // no pool of that name
	UnknownRun       Kind = "UnknownRun"       // no run of that name whose results can be fetched
	NameTaken        Kind = "NameTaken"        // a machine or image of that name exists and is not ours or differs
	NoCapacity       Kind = "NoCapacity"       // the provider has no room now
	ProviderRefused  Kind = "ProviderRefused"  // the provider says no, and will say so again
	ProviderDown     Kind = "ProviderDown"     // the provider does not answer as it should
	BootTimeout      Kind = "BootTimeout"      // the machine was made but never answered
	Unreachable      Kind = "Unreachable"      // no connection to the machine
	RouteRefused     Kind = "RouteRefused"     // a proxy, hub or outpost on the way refuses to carry the connection
	AuthRefused      Kind = "AuthRefused"      // the machine refused the login
	HostKey          Kind = "HostKey"          // the machine's host key is unknown or changed
	AgentUnfit       Kind = "AgentUnfit"       // the agent cannot run there
	NotPrepared      Kind = "NotPrepared"      // the machine lacks what its pool asks for
	DiskFull         Kind = "DiskFull"         // no space left, here or there
	LocalFile        Kind = "LocalFile"        // a file here cannot be read or written
	RemoteFile       Kind = "RemoteFile"       // a file on the machine cannot be read or written
	FileChanged      Kind = "FileChanged"      // a file changed while it was read
	BadName          Kind = "BadName"          // the other side cannot hold a file of that name
	Conflict         Kind = "Conflict"         // changed on both sides
	PathsLeft        Kind = "PathsLeft"        // paths could not be synced; all else was
	TooManyDeletions Kind = "TooManyDeletions" // a folder lost most of its files since it was last synced
	PathTaken        Kind = "PathTaken"        // the absolute path asked for exists on the machine and is not ours
	BadScript        Kind = "BadScript"        // a script that cannot be executed as it is
	ScriptFailed     Kind = "ScriptFailed"     // the script that makes an image failed
	NotFound         Kind = "CommandNotFound"  // the command does not exist on the machine
	NotExecutable    Kind = "NotExecutable"    // the command exists and cannot be executed
	MachineLost      Kind = "MachineLost"      // the machine died in the middle
	RunLost          Kind = "RunLost"          // the run is gone from the machine, its end unknown
	TimedOut         Kind = "TimedOut"         // the time limit that the user gave
	Interrupted      Kind = "Interrupted"      // the user asked us to stop
	Protocol         Kind = "Protocol"         // the other side speaks nonsense
	Busy             Kind = "Busy"             // somebody else holds what we need
	Internal         Kind = "Internal"         // our own mistake
)

// An Info is the row of one kind in the table.
type Info struct {
	Kind   Kind
	Exit   int    // exit code of the CLI and of a relay container
	Retry  bool   // the same attempt may succeed later
	Remedy string // what the reader can do; an Error may say something better
}

// Exit codes apart from a command's own, as docker run, env(1) and timeout(1) use them.
const (
	ExitTimeout       = 124
	ExitOutrigger     = 125
	ExitNotExecutable = 126
	ExitNotFound      = 127
	ExitSignal        = 128 // plus the signal's number
)

// Kinds is the table.
var Kinds = []Info{
	{Usage, ExitOutrigger, false, "See --help for what the command takes."},
	{Config, ExitOutrigger, false, "Mend the file, then check it with: outrigger config check"},
	{UnknownMachine, ExitOutrigger, false, "List the machines with: outrigger vm list"},
	{UnknownProvider, ExitOutrigger, false, "List what is configured with: outrigger config check"},
	{UnknownImage, ExitOutrigger, false, "List the images with: outrigger image list"},
	{UnknownPool, ExitOutrigger, false, "List the pools with: outrigger pool list"},
	{UnknownRun, ExitOutrigger, false, "List what can be fetched with: outrigger fetch"},
	{NameTaken, ExitOutrigger, false, "Choose another name, or delete what holds it."},
	{NoCapacity, ExitOutrigger, true, "Wait until a machine is free, or raise the provider's limits."},
	{ProviderRefused, ExitOutrigger, false, "The provider's own words say what it wants."},
	{ProviderDown, ExitOutrigger, true, "Look at the provider; nothing is wrong with the request. What of it works: outrigger doctor"},
	{BootTimeout, ExitOutrigger, true, "The end of the machine's console is shown; a longer limit is --boot-timeout."},
	{Unreachable, ExitOutrigger, true, "Check the address, the network and any jump host on the way: outrigger doctor"},
	{RouteRefused, ExitOutrigger, false, "Check the password, pass or token for what the message names, and its list of allowed addresses."},
	{AuthRefused, ExitOutrigger, false, "Check the user, the keys and the password that the configuration names."},
	{HostKey, ExitOutrigger, false, "Nothing was sent. If the machine was rebuilt on purpose, pin its new key."},
	{AgentUnfit, ExitOutrigger, false, "See which platforms have an agent in the documentation."},
	{NotPrepared, ExitOutrigger, false, "Mend the image, or skip that step in the pool's preparation."},
	{DiskFull, ExitOutrigger, false, "Free some space, or exclude what need not be copied with --exclude."},
	{LocalFile, ExitOutrigger, false, "Mend the file's permissions, or leave it out with --exclude."},
	{RemoteFile, ExitOutrigger, false, "Look at the path on the machine with: outrigger vm shell"},
	{FileChanged, ExitOutrigger, true, "Run again when nothing writes to the folder, or leave the file out with --exclude."},
	{BadName, ExitOutrigger, false, "Rename the files, or leave them out with --exclude."},
	{Conflict, ExitOutrigger, false, "Nothing was overwritten. Settle the named files by hand, or say who is right with --conflict, then run again."},
	{PathsLeft, ExitOutrigger, false, "Mend the named paths, or leave them out with --exclude, then run again."},
	{TooManyDeletions, ExitOutrigger, false, "Look whether it is the right folder, and whether its disk is mounted; if all that was deleted, say so with --allow-deletions."},
	{PathTaken, ExitOutrigger, false, "Choose another path with --at, or remove what is there."},
	{BadScript, ExitOutrigger, false, "Start the script with an interpreter line such as #!/bin/sh"},
	{ScriptFailed, ExitOutrigger, false, "Mend the script; to look at its machine: outrigger image build --keep-on-failure"},
	{NotFound, ExitNotFound, false, "Install it on the machine, or give its full path."},
	{NotExecutable, ExitNotExecutable, false, "Check the file's mode bits and its interpreter line."},
	{MachineLost, ExitOutrigger, true, "Run again: a new machine is taken. The local files are as they were."},
	{RunLost, ExitOutrigger, true, "Run again: how the command ended cannot be known."},
	{TimedOut, ExitTimeout, false, "Give it more time with --timeout."},
	{Interrupted, ExitSignal + 2, false, ""},
	{Protocol, ExitOutrigger, false, "Update Outrigger on both sides; if it stays, report it."},
	{Busy, ExitOutrigger, true, "Wait for the other one to end."},
	{Internal, ExitOutrigger, false, "This is a mistake in Outrigger: please report it."},
}

// Lookup returns the row of k; an unknown kind gets the row of [Internal].
func Lookup(k Kind) Info {
	for _, i := range Kinds {
		if i.Kind == k {
			return i
		}
	}
	return Lookup(Internal)
}

// An Error is a fault with its text: one line, lower case, what was found
// against what was wanted, no secret.
type Error struct {
	Kind   Kind
	Text   string
	Detail string // further lines worth showing, such as the tail of a console
	Remedy string // better than the table's, or ""
	Exit   int    // other than the table's, or 0
	err    error
}

// New returns a fault. %w works as in fmt.Errorf.
func New(k Kind, format string, args ...any) *Error {
	err := fmt.Errorf(format, args...)
	return &Error{Kind: k, Text: err.Error(), err: errors.Unwrap(err)}
}

// Error returns the text.
func (e *Error) Error() string { return e.Text }

// Unwrap returns the cause, if there is one.
func (e *Error) Unwrap() error { return e.err }

// WithRemedy replaces the table's remedy by one that knows more.
func (e *Error) WithRemedy(format string, args ...any) *Error {
	e.Remedy = fmt.Sprintf(format, args...)
	return e
}

// WithDetail adds lines to show below the text.
func (e *Error) WithDetail(s string) *Error {
	e.Detail = s
	return e
}

// WithExit replaces the table's exit code, as a signal's number does.
func (e *Error) WithExit(code int) *Error {
	e.Exit = code
	return e
}

// Of returns the kind of the outermost fault in err's chain, [Internal] if
// there is none, and "" for a nil error.
func Of(err error) Kind {
	if err == nil {
		return ""
	}
	var e *Error
	if errors.As(err, &e) {
		return e.Kind
	}
	return Internal
}

// Is tells whether the outermost fault in err's chain is of kind k.
func Is(err error, k Kind) bool { return err != nil && Of(err) == k }

// ExitCode returns the exit code for err, 0 for nil.
func ExitCode(err error) int {
	if err == nil {
		return 0
	}
	var e *Error
	if errors.As(err, &e) && e.Exit != 0 {
		return e.Exit
	}
	return Lookup(Of(err)).Exit
}

// Byte is an exit code as the parent of a process is told it: its lowest 8 bits, of the 32 that
// Windows has. What is not 0 stays not 0: then it is 1.
func Byte(code int) int {
	if code != 0 && code&0xff == 0 {
		return 1
	}
	return code & 0xff
}

// Remedy returns what the reader of err can do, or "".
func Remedy(err error) string {
	var e *Error
	if errors.As(err, &e) && e.Remedy != "" {
		return e.Remedy
	}
	return Lookup(Of(err)).Remedy
}
