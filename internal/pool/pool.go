// Package pool decides what happens in a pool of machines: who gets which
// machine, how many are made, which are deleted, and what those who wait are told.
//
// It is a pure function, [Plan], from a [Snapshot] to a [Decision]. The same
// snapshot gives the same decision, and after a decision is carried out the
// next one is empty. Package control/pools carries out.
//
// The order of the queue: higher priority first; among equals the namespace that has the
// fewest machines of the pool, so that one namespace with a thousand claims does not
// shut out another with one; within a namespace the oldest. A namespace that got
// nothing for a while counts as having less, so nobody waits for ever.
//
// Limits, in the order of their weight: never more than Max machines; a machine
// that is in use or starting is not touched; at most MaxCreating are under
// creation, none while creation backs off.
package pool

import "time"

// A Snapshot is all that a decision depends on.
type Snapshot struct {
	Now      time.Time
	Pool     Pool
	Machines []Machine
	Claims   []Claim // those that wait; who holds a machine is known from the machine
}

// A Pool says what is wanted.
type Pool struct {
	Warm        int
	Max         int
	MaxCreating int
	Image       string
	NoImage     string        // why nobody knows of which image machines are to be made, for those who wait; "": Image is known
	Reuse       bool          // machines come back after a claim
	MaxUses     int           // 0: no limit
	MaxAge      time.Duration // 0: no limit
	// Creation is not tried before BackoffUntil; after Failures it is tried
	// with one machine first.
	BackoffUntil time.Time
	Failures     int
	Trouble      string        // the provider's words for why creation failed, for those who wait
	Closing      bool          // the pool is being deleted: nobody gets a machine of it any more
	StartTime    time.Duration // from creation to idle, lately; 0: unknown
	LeaseTime    time.Duration // from binding to release, lately; 0: unknown
}

// A Phase is a machine's, as far as planning cares.
type Phase int

// The phases.
const (
	Creating  Phase = iota // the provider is, or will be, asked to make it
	Booting                // made, not prepared yet
	Idle                   // free
	Leased                 // a claim has it
	Releasing              // its claim is over
	Deleting               // given up or on its way out; it counts until it is gone
)

// A Machine is one that exists or may exist.
type Machine struct {
	Name      string
	Phase     Phase
	Image     string
	For       string    // UID of the claim that it is made for, if its image is not the pool's
	Namespace string    // of the claim that has it
	Created   time.Time // of its object
	Since     time.Time // when it came into its phase
	Uses      int       // claims that it has served
	Returns   bool      // Releasing, and will be idle again
	Suspect   bool      // Idle, and did not answer when it was last asked
}

// A Claim waits for a machine.
type Claim struct {
	UID       string
	Namespace string
	Name      string
	Image     string // "": the pool's
	Fresh     bool   // wants a machine made for it alone
	Priority  int
	Created   time.Time
}

// A Decision says what to do now.
type Decision struct {
	Bind   []Binding
	Create []Creation
	Delete []Deletion
	Queue  []Waiting // in their order, without those that are bound
	// Next is when to look again though nothing has happened; zero: never.
	Next time.Time
}

// A Binding gives a machine to a claim.
type Binding struct {
	Claim   int // index in Snapshot.Claims
	Machine string
}

// A Creation asks for a machine.
type Creation struct {
	Image string
	For   string // UID of the claim that alone may have it, or ""
}

// A Deletion ends a machine. Why is a word for events and metrics.
type Deletion struct {
	Machine string
	Why     Why
}

// Why a machine is deleted.
type Why string

// The reasons.
const (
	WhyExcess   Why = "Excess"   // more are idle than wanted
	WhyOutdated Why = "Outdated" // too old, used too often, or of the pool's former image
	WhyUnwanted Why = "Unwanted" // the claim that it was made for is gone
	WhyRoom     Why = "MakeRoom" // a claim with an image of its own waits, and the pool is full
	WhyClosing  Why = "PoolDeleted"
)

// A Waiting tells a claim how it stands.
type Waiting struct {
	Claim    int           // index in Snapshot.Claims
	Position int           // 1 is next
	Wait     time.Duration // expected; 0: unknown
	Reason   Reason
	Message  string
}

// A Reason is the word for why a claim waits: the reason of its condition Bound.
type Reason string

// The reasons.
const (
	ReasonStarting Reason = "MachineStarting"   // a machine for it is on its way
	ReasonAtMax    Reason = "PoolAtMax"         // all machines that there may be are in use
	ReasonBackoff  Reason = "CreationFailed"    // making machines failed and is tried again later
	ReasonLimited  Reason = "CreationLimited"   // as many are under creation as may be
	ReasonNoImage  Reason = "ImageNotBuilt"     // there is no image yet to make machines of
	ReasonIll      Reason = "MachinesUnhealthy" // machines are free and do not answer
	ReasonClosing  Reason = "PoolDeleted"
)

// Outdated tells whether a machine that is free should be replaced. While nothing could take its
// place only one that was used up is.
func Outdated(p Pool, m Machine, now time.Time) bool {
	if p.MaxUses > 0 && m.Uses >= p.MaxUses {
		return true
	}
	if p.NoImage != "" {
		return false
	}
	return m.Image != p.Image || p.MaxAge > 0 && now.Sub(m.Created) >= p.MaxAge
}

// own tells whether c wants a machine made for it alone.
func (p Pool) own(c Claim) bool { return c.Fresh || c.Image != "" && c.Image != p.Image }

// imageFor is the image of a machine that is made for c; false: nobody knows yet.
func (p Pool) imageFor(c Claim) (string, bool) {
	if c.Image != "" {
		return c.Image, true
	}
	return p.Image, p.NoImage == ""
}
