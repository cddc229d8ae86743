package images

import (
	"time"

	"outrigger.dev/outrigger/api/v1alpha1"
)

// A Snapshot is all that the next step depends on.
type Snapshot struct {
	Now    time.Time
	Wanted string // the name of the image that is asked for
	Pinned bool   // spec.use names it: it is not built
	Stored Stored // how it stands at the provider
	// Current is the image that pools use now.
	Current string
	// Changed tells that the object was changed since its status was written.
	Changed bool
	Build   v1alpha1.ImageBuild // the last one, as the status has it
	Claim   Claim
	// Held tells that the machine on which it was built last is not given back yet.
	Held bool
}

// Stored says how an image stands at the provider.
type Stored int

// How an image can stand.
const (
	Absent Stored = iota
	Saving        // it is being written, by whomever
	Broken        // writing it has failed
	There
)

// A Claim is the one with which images of an object are built, if it has one.
type Claim struct {
	UID     string // "": there is none
	Ours    bool   // the object's, and not that of an earlier one of its name
	Builds  string // the image that it is for
	Leaving bool   // it is being deleted
	Phase   v1alpha1.ClaimPhase
	Lost    bool   // it was Bound, and its machine is gone
	Reason  string // of its condition Bound
	Message string
}

// A Do is what a step does.
type Do string

// The steps.
const (
	Wait   Do = "wait"   // until something happens, or Again
	Settle Do = "settle" // pools use the wanted image from now on; nothing is left to do
	Remove Do = "remove" // the image that could not be written
	Order  Do = "order"  // a claim
	Adopt  Do = "adopt"  // a claim that was ordered and not written down
	Begin  Do = "begin"  // to build, on the claim's machine
	Drop   Do = "drop"   // the claim, and with it its machine
	Fail   Do = "fail"   // this try has failed
)

// A Step is what is to be done now. Reason and Message are for people; without a reason nothing new is to be said.
type Step struct {
	Do              Do
	Reason, Message string
	Again           time.Time // look again at this time though nothing has happened; zero: no need
}

// How often is looked at what no event tells of.
const savingPause = 5 * time.Second

// Reasons for which a claim is dropped before it has served.
const (
	whySuperseded  = "BuildSuperseded"  // something else is asked for by now
	whyInterrupted = "BuildInterrupted" // the controller that built has ended
	whyOver        = ""                 // nothing is left to do with it
)

// Decide says what is next.
func Decide(s Snapshot) Step {
	claimed := s.Claim.UID != ""
	switch {
	case s.Claim.Leaving && s.Stored != There:
		return Step{Do: Wait}
	case s.Stored == Saving:
		return Step{Do: Wait, Reason: v1alpha1.ReasonImageSaving, Message: "the provider is saving image " + s.Wanted, Again: s.Now.Add(savingPause)}
	case s.Pinned && s.Stored != There:
		return Step{Do: Wait, Reason: v1alpha1.ReasonImageUnknown, Message: "spec.use: the provider has no image " + s.Wanted}
	case s.Stored == There && claimed && !s.Claim.Leaving:
		return Step{Do: Drop, Reason: whyOver}
	case s.Stored == There && s.Current != s.Wanted && (claimed || s.Held):
		// A pool that is full with it would let another machine go, to have room for one of the new image.
		return Step{Do: Wait}
	case s.Stored == There:
		return Step{Do: Settle}
	case s.Stored == Broken:
		return Step{Do: Remove}
	case claimed:
		return s.withClaim()
	}
	failed := s.Build.Image == s.Wanted && s.Build.Phase == v1alpha1.BuildFailed
	if at := s.Build.RetryAt; failed && at != nil && s.Now.Before(at.Time) && !s.Changed {
		return Step{Do: Wait, Again: at.Time}
	}
	return Step{Do: Order}
}

// withClaim decides what is next with a claim, of an image that is not there.
func (s Snapshot) withClaim() Step {
	c, b := s.Claim, s.Build
	switch {
	case !c.Ours || c.Builds != s.Wanted:
		return Step{Do: Drop, Reason: whySuperseded, Message: "image " + s.Wanted + " is asked for by now, and not " + c.Builds}
	case c.Phase == v1alpha1.ClaimReleased:
		return Step{Do: Drop, Reason: whyOver}
	case b.ClaimUID != c.UID:
		return Step{Do: Adopt}
	case b.Phase == v1alpha1.BuildFailed:
		if until := b.KeptUntil; until != nil && s.Now.Before(until.Time) {
			return Step{Do: Wait, Again: until.Time}
		}
		return Step{Do: Drop, Reason: whyOver}
	case b.Phase == v1alpha1.BuildDone: // and the image was deleted since
		return Step{Do: Drop, Reason: whyOver}
	case c.Phase == v1alpha1.ClaimFailed, c.Lost:
		return Step{Do: Fail, Reason: c.Reason, Message: c.Message}
	case c.Phase != v1alpha1.ClaimBound:
		return Step{Do: Wait, Reason: v1alpha1.ReasonImageQueued, Message: c.Message}
	case b.Phase == v1alpha1.BuildQueued:
		return Step{Do: Begin}
	}
	return Step{Do: Drop, Reason: whyInterrupted, Message: "the controller that was building has ended: the build begins anew on another machine"}
}
