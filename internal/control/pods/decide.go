package pods

import (
	"fmt"
	"time"

	"outrigger.dev/outrigger/api/v1alpha1"
	"outrigger.dev/outrigger/internal/pool"
)

// A Snapshot is all that a decision about one Pod and its claim depends on.
type Snapshot struct {
	Now   time.Time
	Pod   Pod
	Claim Claim
}

// A Pod is one that wants, has or had a machine. A PipelineRun that holds a claim is one
// too: it is placed and not gated, and cannot be told anything.
type Pod struct {
	Kind     string // of what it really is; "": a Pod
	There    bool   // the API server has it; that it does not is the API server's own word
	Gated    bool
	Placed   bool      // a node has it
	Finishes bool      // it ends some time: its containers are not restarted for ever
	Unplaced string    // why no node has it, says the scheduler
	Wrong    string    // what is wrong with its request, or ""
	End      End       // of its containers that run on the machine
	EndedAt  time.Time // zero: unknown
	Failure  string    // which container failed, and how
	Left     string    // what is said of results that are still on the machine; "": all came back
	Leaves   time.Time // when the grace period of its deletion is over; zero: it is not being deleted
	Machine  string    // that it was given; "": none yet
	Told     Telling
}

// An End is what the containers of a Pod that run on the machine have come to.
type End int

// The ends.
const (
	Running   End = iota // or not begun, or to be restarted
	Succeeded            // all have ended, none with an error
	Failed               // all have ended, or never will begin
)

// A Telling is what a Pod says of its machine: its condition [v1alpha1.PodMachineBound].
type Telling struct {
	Bound   bool
	Reason  string // "": nothing was told yet
	Message string
	At      time.Time
}

// A Claim is the MachineClaim that the Pod names.
type Claim struct {
	There     bool
	Mine      bool   // the Pod is its holder
	Holder    string // the Pod that is
	Phase     v1alpha1.ClaimPhase
	Pool      string
	Machine   string
	Lost      bool   // the machine that was bound is lost
	Reason    string // of its condition Bound
	Message   string // for the Pod: why it waits, or what happened
	Ready     bool   // its Secret is written
	ReadyAt   time.Time
	Keep      time.Duration // after a failure
	KeptSince time.Time     // when that it is kept was written; zero: it was not
	Leaving   bool          // it is being deleted
	Limits    Limits
}

// Limits are what the claim's pool sets; zero is no limit.
type Limits struct {
	Schedule time.Duration // for a Pod that has its machine and no node
	Keep     time.Duration // the longest
	Results  time.Duration // where results did not all come back
	// Why no further machine is kept, or ""; and why none is that nobody asked to be kept, for the sake of results.
	Full, FullOfResults string
}

// A Step is what to do next.
type Step struct {
	Do      Action
	Reason  string // a word for conditions and events
	Message string
	Bound   bool      // of Tell: the Pod has its machine
	Warn    bool      // of Tell: also a warning
	Again   time.Time // when to look again though nothing has happened; zero: never
}

// An Action is the kind of a Step.
type Action string

// The actions.
const (
	Nothing  Action = ""
	Create   Action = "create"    // make the claim
	Tell     Action = "tell"      // write the Pod's condition
	HandOver Action = "hand over" // write the Secret, lift the gate, make the claim ready
	Keep     Action = "keep"      // write that the machine is kept after a failure
	Release  Action = "release"   // delete the Secret, give the machine back; the claim stays
	Drop     Action = "drop"      // delete the Secret and the claim
	Fail     Action = "fail"      // make the Pod fail
)

// Intervals and limits of decisions.
const (
	// tellEvery is between two messages to a Pod that differ in numbers only. A queue moves
	// faster than people read, and each message is a write.
	tellEvery = 10 * time.Second
	// silence is how long after the grace period of its deletion a Pod still has its
	// machine, if its node does not say that the containers have ended: a kubelet that
	// lives kills them at once. A guess.
	silence = 5 * time.Minute
	// hope is how long a Pod waits for a pool that does not exist: long enough for one that is
	// being made anew. A guess.
	hope = 5 * time.Minute
)

// Decide says what to do next.
func Decide(s Snapshot) Step {
	c := s.Claim
	switch {
	case !c.There:
		return s.unclaimed()
	case c.Leaving:
		return Step{} // its deletion wakes us up
	case !s.Pod.There:
		return Step{Do: Drop, Reason: s.Pod.kind() + "Gone", Message: "the " + s.Pod.kind() + " is gone"}
	case !c.Mine:
		return s.taken()
	case c.Phase == v1alpha1.ClaimReleased:
		return s.released()
	case s.Pod.End != Running:
		return s.ended()
	case !s.Pod.Leaves.IsZero():
		return s.leaving()
	case c.Phase == v1alpha1.ClaimFailed:
		return s.refuse(c.Reason, c.Message)
	case c.Phase == v1alpha1.ClaimBound:
		return s.bound()
	}
	return s.queued()
}

// unclaimed is a Pod without a claim.
func (s Snapshot) unclaimed() Step {
	p := s.Pod
	switch {
	case !p.There || p.End != Running || !p.Leaves.IsZero():
		return Step{}
	case !p.Gated && p.Machine == "":
		return Step{} // nothing of ours
	case !p.Gated:
		return s.warn("ClaimDeleted", "the MachineClaim was deleted, and machine "+p.Machine+" was given back with it")
	case p.Wrong != "":
		return s.refuse("BadRequest", p.Wrong)
	}
	return Step{Do: Create}
}

// taken is a Pod that names the claim of another.
func (s Snapshot) taken() Step {
	if p := s.Pod; !p.Gated || p.End != Running || !p.Leaves.IsZero() {
		return Step{}
	}
	return s.warn("ClaimTaken", "the MachineClaim that this Pod names is held by "+s.Claim.Holder+": it waits until that one is gone")
}

// released is a Pod whose claim is over: one that has not begun gets another.
func (s Snapshot) released() Step {
	if s.waits() {
		return Step{Do: Drop, Reason: "ClaimReleased", Message: "the claim was released before the Pod began: it gets another"}
	}
	return Step{}
}

// waits tells whether the Pod may still begin.
func (s Snapshot) waits() bool {
	return s.Pod.Gated && s.Pod.End == Running && s.Pod.Leaves.IsZero()
}

// ended is a Pod that needs its machine no more, unless it is to be kept after a failure.
func (s Snapshot) ended() Step {
	c, p := s.Claim, s.Pod
	if c.Phase == v1alpha1.ClaimFailed {
		return Step{} // it has no machine
	}
	keep, why, full := s.keeps()
	if full != "" {
		return Step{Do: Release, Reason: p.kind() + "Ended", Warn: true, Message: why + "; the machine is not kept: " + full}
	}
	if keep > 0 {
		since := p.EndedAt
		if since.IsZero() {
			since = c.KeptSince
		}
		if since.IsZero() {
			since = s.Now
		}
		until := since.Add(keep)
		switch {
		case !s.Now.Before(until):
			return Step{Do: Release, Reason: reasonKept, Message: fmt.Sprintf("%s; the machine was kept for %s", why, keep)}
		case c.KeptSince.IsZero():
			return Step{Do: Keep, Reason: reasonKept, Message: fmt.Sprintf("%s; machine %s is kept until %s: delete the %s to give it back",
				why, c.Machine, until.UTC().Format(time.RFC3339), p.kind())}
		}
		return Step{Again: until}
	}
	if p.End == Failed {
		return Step{Do: Release, Reason: p.kind() + "Failed", Message: p.Failure}
	}
	return Step{Do: Release, Reason: p.kind() + "Succeeded", Message: "all that ran on the machine has ended"}
}

// keeps is for how long the machine stays after its holder has ended, and why; or, if it is not kept because enough
// are, that.
func (s Snapshot) keeps() (keep time.Duration, why, full string) {
	c, p := s.Claim, s.Pod
	if c.Phase != v1alpha1.ClaimBound || c.Lost || !p.Leaves.IsZero() || !p.Placed {
		return 0, "", ""
	}
	limits := c.Limits
	if !c.KeptSince.IsZero() { // it is one of those that are kept
		limits.Full, limits.FullOfResults = "", ""
	}
	why = p.Failure
	if p.End == Failed {
		keep = c.Keep
	}
	if p.Left != "" {
		why = "not all results came back: " + p.Left
		switch {
		case limits.FullOfResults == "":
			keep = max(keep, limits.Results)
		case keep == 0:
			full = limits.FullOfResults
		}
	}
	if keep > 0 && limits.Full != "" {
		return 0, why, limits.Full
	}
	if limits.Keep > 0 {
		keep = min(keep, limits.Keep)
	}
	return keep, why, full
}

func (p Pod) kind() string {
	if p.Kind != "" {
		return p.Kind
	}
	return "Pod"
}

// leaving is a Pod that is being deleted. What runs has its grace period; what never ran has none.
func (s Snapshot) leaving() Step {
	p := s.Pod
	if !p.Placed {
		return Step{Do: Release, Reason: "PodDeleted", Message: "the Pod was deleted before it began"}
	}
	if until := p.Leaves.Add(silence); s.Now.Before(until) {
		return Step{Again: until}
	}
	return Step{Do: Release, Reason: "NodeSilent",
		Message: fmt.Sprintf("the Pod was to be gone %s ago, and its node does not say that its containers have ended", s.Now.Sub(p.Leaves).Round(time.Second))}
}

// queued is a Pod that waits. One whose pool is no more is not left waiting for ever: it would hold
// up a TaskRun until its timeout, and a pool is not made again by itself.
func (s Snapshot) queued() Step {
	c, told := s.Claim, s.Pod.Told
	step := s.tell(false, c.Reason, c.Message)
	if c.Reason != "PoolNotFound" && c.Reason != string(pool.ReasonClosing) || !s.waits() || !s.Pod.Finishes {
		return step
	}
	if told.Reason != c.Reason || told.Message != c.Message {
		return step
	}
	if until := told.At.Add(hope); s.Now.Before(until) {
		return Step{Again: until}
	}
	return s.refuse(c.Reason, fmt.Sprintf("%s; waited for another of that name for %s", c.Message, hope))
}

// bound is a Pod that has its machine, or is about to be given it.
func (s Snapshot) bound() Step {
	c, p := s.Claim, s.Pod
	switch {
	case c.Lost && p.Gated: // nothing has run there
		return Step{Do: Drop, Reason: c.Reason, Message: c.Message + "; the Pod gets another machine"}
	case c.Lost:
		return s.tell(false, c.Reason, c.Message)
	case p.Gated || !c.Ready:
		return Step{Do: HandOver}
	}
	step := s.tell(true, "Bound", fmt.Sprintf("machine %s of pool %s", c.Machine, c.Pool))
	if p.Placed || step.Do != Nothing || c.Limits.Schedule <= 0 || s.Pod.Kind != "" {
		return step
	}
	// A Pod that no node takes would hold its machine for ever.
	until := c.ReadyAt.Add(c.Limits.Schedule)
	if s.Now.Before(until) {
		return Step{Again: earlier(step.Again, until)}
	}
	return Step{Do: Fail, Reason: reasonNotScheduled, Message: fmt.Sprintf(
		"no node has taken the Pod within %s after it got machine %s, which is given back: %s", c.Limits.Schedule, c.Machine, p.Unplaced)}
}

// reasonNotScheduled is why a Pod fails that no node takes.
const reasonNotScheduled = "NotScheduled"

// refuse ends a Pod that will never get a machine. One whose containers are always
// restarted is not made to fail: who makes such Pods would make another at once, for ever.
func (s Snapshot) refuse(reason, message string) Step {
	switch {
	case !s.waits():
		return Step{}
	case s.Pod.Finishes:
		return Step{Do: Fail, Reason: reason, Message: message}
	}
	return s.warn(reason, message)
}

func (s Snapshot) warn(reason, message string) Step {
	step := s.tell(false, reason, message)
	step.Warn = step.Do == Tell && s.Pod.Told.Reason != reason
	return step
}

// tell says something to the Pod, unless it was told already, or something similar just now.
func (s Snapshot) tell(bound bool, reason, message string) Step {
	told := s.Pod.Told
	switch {
	case reason == "", s.Pod.Kind != "": // nobody has said anything of the claim yet, or nobody reads it there
		return Step{}
	case told.Bound == bound && told.Reason == reason:
		if told.Message == message {
			return Step{}
		}
		if due := told.At.Add(tellEvery); s.Now.Before(due) {
			return Step{Again: due}
		}
	}
	return Step{Do: Tell, Bound: bound, Reason: reason, Message: message}
}
