package wire

import (
	"time"

	"outrigger.dev/outrigger/internal/machine"
)

// Methods that the agent's serve answers.
const (
	MethodInfo         = "info"          // InfoRequest -> Info
	MethodLeaseAcquire = "lease.acquire" // LeaseAcquire -> Lease
	MethodLeaseRenew   = "lease.renew"   // LeaseRenew -> Lease
	MethodLeaseRelease = "lease.release" // LeaseRelease -> LeaseReleased
	MethodLeaseList    = "lease.list"    // nothing -> LeaseList
	MethodLink         = "link"          // LinkRequest -> LinkAnswer
	MethodLinkCheck    = "link.check"    // LinkCheck -> LinkChecked
	MethodHomeRecord   = "home.record"   // HomeRecord -> HomeRecorded
	MethodSync         = "sync"          // SyncRequest -> nothing, then the frames of worksync/transfer
)

// An InfoRequest asks what kind of machine this is.
type InfoRequest struct {
	// Root asks whether the login may become root, which costs a sudo.
	Root bool `cbor:"1,keyasint,omitempty"`
}

// An Info describes the machine to the client.
type Info struct {
	Platform  machine.Platform `cbor:"1,keyasint"`
	Hostname  string           `cbor:"2,keyasint"`
	User      string           `cbor:"3,keyasint"`
	Home      string           `cbor:"4,keyasint"`
	Root      string           `cbor:"5,keyasint"` // the agent's folder, absolute
	FreeBytes int64            `cbor:"6,keyasint"` // on the disk of Root; -1: unknown
	// MayRoot tells that the login is root or becomes it without a password.
	// It is looked up only when the request says so.
	MayRoot bool `cbor:"7,keyasint,omitempty"`
	// Session is the kind of session the agent runs in: "ssh", "aqua" (macOS,
	// with a window server), "background" (macOS, without), "console".
	Session string `cbor:"8,keyasint"`
	Build   string `cbor:"9,keyasint"`
}

// A LeaseAcquire asks for a folder on this machine for one use. Asking again
// for a name that the same owner holds answers with that lease, renewed.
type LeaseAcquire struct {
	Name    string    `cbor:"1,keyasint"` // a machine.Name
	Owner   string    `cbor:"2,keyasint"`
	Expires time.Time `cbor:"3,keyasint"`
	// Slots is how many live leases this machine may have at once; 0: no limit.
	// A machine that is full answers NoCapacity and names the holders.
	Slots int `cbor:"4,keyasint,omitempty"`
	// Note is shown to people who ask who holds the machine ("alice@laptop").
	Note string `cbor:"5,keyasint,omitempty"`
	// Held is until when the lease takes one of the slots, beside the time in which something runs
	// in it: after that only its folder stays, until Expires. Zero: as long as the lease.
	Held time.Time `cbor:"6,keyasint,omitzero"`
}

// A Lease is one use of a machine.
type Lease struct {
	Name    string    `cbor:"1,keyasint"`
	Owner   string    `cbor:"2,keyasint"`
	Created time.Time `cbor:"3,keyasint"`
	Expires time.Time `cbor:"4,keyasint"`
	Dir     string    `cbor:"5,keyasint"` // the lease's own folder on the machine, absolute
	Work    string    `cbor:"6,keyasint"` // the synced folder in it
	Note    string    `cbor:"7,keyasint,omitempty"`
	// Releasing tells that somebody began to release it, and perhaps died.
	Releasing bool `cbor:"8,keyasint,omitempty"`
	Runs      int  `cbor:"9,keyasint,omitempty"` // runs that have not ended
	// Held is until when it takes a slot; zero: as long as it lives.
	Held time.Time `cbor:"10,keyasint,omitzero"`
}

// Takes tells whether the lease takes one of the machine's slots.
func (l Lease) Takes(now time.Time) bool {
	return now.Before(l.Expires) && (l.Held.IsZero() || now.Before(l.Held) || l.Runs > 0)
}

// A LeaseRenew moves a lease's expiry.
type LeaseRenew struct {
	Name    string    `cbor:"1,keyasint"`
	Expires time.Time `cbor:"2,keyasint"`
	Held    time.Time `cbor:"3,keyasint,omitzero"` // as in LeaseAcquire
}

// A LeaseRelease ends a lease: what runs is killed, links and folder go. It
// may be repeated; a lease that is not there is released already.
type LeaseRelease struct {
	Name string `cbor:"1,keyasint"`
	// Clean: the machine is somebody else's next, and nobody's own. What the lease's runs put at
	// the paths of its links is removed too, rather than left to its owner.
	Clean bool `cbor:"2,keyasint,omitempty"`
	// Home has the user's home put back into what it was when it was recorded: the digest of that record. It
	// is done when no other lease is there. It needs Clean.
	Home []byte `cbor:"3,keyasint,omitempty"`
	// Sole: nothing but what was run here is this user's, as on a machine that was made for us. Then
	// processes and temporary files that were not there when the home was recorded go too.
	Sole bool `cbor:"4,keyasint,omitempty"`
}

// A HomeRecord asks that the home of the login be recorded as clean.
type HomeRecord struct {
	Sole bool `cbor:"1,keyasint,omitempty"` // as in LeaseRelease
}

// A HomeRecorded answers a HomeRecord.
type HomeRecorded struct {
	Digest []byte `cbor:"1,keyasint"`
}

// A LeaseReleased answers a LeaseRelease.
type LeaseReleased struct {
	// Left says what of the lease, or of one before, is still on the machine, a line each. A
	// machine of which something is left must not be given to somebody else.
	Left []string `cbor:"1,keyasint,omitempty"`
}

// A LeaseList is what there is on the machine of the caller's, and what is over, which anybody may release.
type LeaseList struct {
	Leases []Lease `cbor:"1,keyasint"`
	// Others counts the leases of other callers that have not expired.
	Others int `cbor:"2,keyasint,omitempty"`
}

// UnmarshalCBOR bounds the list, which would be 144 times as large in memory.
func (l *LeaseList) UnmarshalCBOR(b []byte) error {
	type plain LeaseList
	return fewMode.Unmarshal(b, (*plain)(l))
}

// A LinkRequest asks that a folder or file of a lease appears at an absolute path.
type LinkRequest struct {
	Lease  string `cbor:"1,keyasint"`
	Path   string `cbor:"2,keyasint"`           // absolute on the machine, or "~/x"; on Windows "/x" is the system drive's \x
	Target string `cbor:"3,keyasint,omitempty"` // below the lease's work folder; "" is that folder
	// Inside: Path is below the lease's work folder too. Such a link takes the
	// place of an earlier one and needs no root.
	Inside bool `cbor:"4,keyasint,omitempty"`
	// Make makes the target an empty folder if nothing is there.
	Make bool `cbor:"5,keyasint,omitempty"`
}

// A LinkAnswer tells how the path was made to work.
type LinkAnswer struct {
	// Rewrite: the path could not be made, because the login may not become root.
	// Runs of this lease have it rewritten to Target in their command,
	// environment and script instead. The client should say so, once.
	Rewrite bool   `cbor:"1,keyasint,omitempty"`
	Target  string `cbor:"2,keyasint"` // absolute
	Why     string `cbor:"3,keyasint,omitempty"`
}

// A LinkCheck asks whether links of a lease are still what was made: a program may have put
// something else at their paths, and what it wrote there is then not in the lease.
type LinkCheck struct {
	Links []LinkRequest `cbor:"1,keyasint"` // Lease, Path, Target and Inside
}

// A LinkChecked answers a LinkCheck.
type LinkChecked struct {
	Replaced []string `cbor:"1,keyasint,omitempty"` // paths, as they were asked for
}

// A SyncRequest begins a sync session on this connection.
type SyncRequest struct {
	Lease string `cbor:"1,keyasint"`
	// Folder is below the lease's work folder; "" is that folder itself.
	Folder string `cbor:"2,keyasint,omitempty"`
}
