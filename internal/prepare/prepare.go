// Package prepare makes a machine fit for use while it idles: the key that it will be
// entered with, no password login, a window-server session on a Mac, the clock,
// the disk.
//
// What is done is data: [Plan] lists the steps for a system. A step is a script
// that looks, a pure function that judges what was seen, and a script that
// changes something. One runner ([Run]) takes them in order: look, judge, do,
// look again. So each may be repeated, and none is believed to have worked
// because its command said so. What was found is a [Finding], with the machine's
// own words.
//
// Scripts go to the machine's shell on its standard input, so nothing of them,
// and no secret in them, is on a command line that others on the machine can list.
package prepare

import (
	"fmt"
	"time"

	"outrigger.dev/outrigger/internal/machine"
)

// A Condition names what a step sees to. The controller's Machine has a condition
// of the same name.
type Condition string

// The conditions.
const (
	SlotUser      Condition = "SlotUser"      // claims run as a system user of the slot's own
	KeyLogin      Condition = "KeyLogin"      // the machine is entered with our key
	RootAccess    Condition = "RootAccess"    // the login becomes root
	PasswordOff   Condition = "PasswordOff"   // nobody logs in with a password
	DiskSpace     Condition = "DiskSpace"     // there is room for work
	Clock         Condition = "Clock"         // it is right
	RootLinker    Condition = "RootLinker"    // absolute paths can be made to exist
	KeepAwake     Condition = "KeepAwake"     // the machine does not sleep
	ConsoleUser   Condition = "ConsoleUser"   // the login's user is logged in at the screen
	AquaSession   Condition = "AquaSession"   // what runs has a window server
	BuildKeychain Condition = "BuildKeychain" // identities to sign with are there and unlocked
)

// A Weight says what becomes of a machine on which a step did not get where it should.
type Weight int

// The weights.
const (
	Degrades Weight = iota + 1 // it is used; the condition says what it lacks
	Unfits                     // it is given up, unless the step is skipped
)

// Want is what the pool asks of its machines.
type Want struct {
	OS      string       // GOOS
	Machine machine.Name // marks what is ours on a machine that others use too

	Key         string         // the public half, in authorized_keys format
	Password    machine.Secret // of the login; makes root of it where sudo asks for one
	PasswordOff bool
	// Tenants tells that what claims ran has run as the login. Then the password is not sent there any more,
	// since whatever reads it there may be theirs: a shell's start file decides what a command is.
	Tenants bool
	// Separate asks for a system user for what claims run; the login is then nobody's but ours.
	Separate bool

	Agent     string   // path of the agent on the machine
	AgentRoot string   // the agent's folder, absolute
	Linked    []string // names in the root folder that lead to the agent's folder on macOS

	MinFree  int64 // bytes
	Keychain *Keychain

	Skip    []Condition // steps that the pool does not want
	Require []Condition // steps that unfit a machine for this pool, whatever the table says
}

// A Keychain is a keychain of macOS for the time of one claim.
type Keychain struct {
	Password   machine.Secret // a new one each time; nobody needs it later
	Identities []Identity
}

// An Identity is a certificate with its private key.
type Identity struct {
	Name     string // for messages
	PKCS12   []byte
	Password machine.Secret
}

// A Finding is how things stand with one step.
type Finding struct {
	Condition Condition
	OK        bool
	Reason    string // one word
	Message   string
	Unfit     bool // the machine must not be used
}

// String says it for people.
func (f Finding) String() string {
	if f.Message == "" {
		return fmt.Sprintf("%s: %s", f.Condition, f.Reason)
	}
	return fmt.Sprintf("%s: %s: %s", f.Condition, f.Reason, f.Message)
}

// A Step sees to one condition.
type Step struct {
	Condition Condition
	Weight    Weight
	// Host tells that it is about the computer, and so the login's also where claims have a user of their own.
	Host bool
	// Wanted tells whether the pool asks for it; nil: always.
	Wanted func(Want) bool
	// Look returns the script that prints what Judge needs, as lines "word=value".
	Look func(Want, Power) Script
	// Judge decides what is next. It is a pure function.
	Judge func(Want, Seen) Verdict
	// Do returns the script that changes the machine; nil: nothing can be done.
	Do func(Want, Seen) Script
	// Undo returns the script that takes back what must not outlast a claim; nil: nothing must.
	Undo func(Want, Power) Script
	// Leave returns the script that takes back what must not outlast the machine on a
	// host that goes on; nil: nothing must.
	Leave func(Want, Power) Script
	// Strip returns the script that takes back what must not be in an image of the machine; nil: what
	// must not outlast it either.
	Strip func(Want, Power) Script
	// Patience is how long the step waits where Judge says Wait.
	Patience time.Duration
}

// Seen is what a look found.
type Seen struct {
	Values map[string]string
	Words  string // what the script said besides, for people
	Exit   int
	Began  time.Time // our clock, before and after
	Ended  time.Time
	Power  Power
	Done   bool // the step's script has run
}

// A Next is what a verdict asks for.
type Next int

// What can be next.
const (
	Fine Next = iota + 1 // it is as it should be
	Act                  // the step's script would help
	Wait                 // it will be, by itself
	Give                 // it is not, and we cannot help
)

// A Verdict is a judgement of what was seen.
type Verdict struct {
	Next    Next
	Reason  string
	Message string
}

func fine(reason, format string, args ...any) Verdict {
	return Verdict{Fine, reason, fmt.Sprintf(format, args...)}
}

func act(reason, format string, args ...any) Verdict {
	return Verdict{Act, reason, fmt.Sprintf(format, args...)}
}

func wait(reason, format string, args ...any) Verdict {
	return Verdict{Wait, reason, fmt.Sprintf(format, args...)}
}

func give(reason, format string, args ...any) Verdict {
	return Verdict{Give, reason, fmt.Sprintf(format, args...)}
}
