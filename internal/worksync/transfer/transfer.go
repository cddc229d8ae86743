// Package transfer carries a sync between two sides over a connection.
//
// The near side decides, the far side answers; both look, read and write for
// themselves. One operation is:
//
//	near                                 far
//	begin (bases it has, patterns)  →
//	   … scans …                            … scans …
//	                                ←    state, list of what is not as in the base
//	   … plans …
//	   (ask for digests, if the plan depends on them → ← list)
//	Up:    stream of steps and contents → … applies, commits …
//	                                ←    result
//	Back:  fetch (which files)      →
//	                                ←    stream of contents
//	       result, then a stream of what is agreed now →
//	                                ←    result
//	or:    nothing (all is equal, or there are conflicts) →
//
// So nothing costs a round trip per file: a sync that finds no change costs
// one, one that moves something two. A stream is blocks of package pack and an
// end; its receiver answers exactly one result, early if something goes wrong,
// and then swallows the rest, so that the connection stays in step.
//
// Without a baseline in common the list is whole, and says of each entry whether
// it is as the far side last agreed on with anybody.
//
// The far side commits the new baseline first. Whatever is cut off anywhere can
// be repeated on a new connection: what was already moved is then found to be
// equal on both sides.
package transfer

import (
	"outrigger.dev/outrigger/internal/wire"
	"outrigger.dev/outrigger/internal/worksync/names"
	"outrigger.dev/outrigger/internal/worksync/tree"
)

// The frames of a sync.
const (
	typeBegin   = wire.TypeSyncFirst + iota // begin
	typeState                               // state
	typeAsk                                 // ask
	typeNothing                             // empty: the operation is over
	typeBlock                               // raw block
	typePacked                              // compressed block
	typeEnd                                 // end
	typeResult                              // result
	typeBye                                 // empty: the session is over
)

// begin opens an operation.
type begin struct {
	Bases    [][]byte `cbor:"1,keyasint,omitempty"` // IDs, the last generation first
	Patterns []string `cbor:"2,keyasint,omitempty"` // what to leave out
	Up       bool     `cbor:"3,keyasint,omitempty"` // a run may follow
}

// state is the far side's answer, before its list.
type state struct {
	Fault    *wire.Fault `cbor:"1,keyasint,omitempty"`
	Base     []byte      `cbor:"2,keyasint,omitempty"` // the one of begin.Bases that is in use
	Pristine bool        `cbor:"3,keyasint,omitempty"` // never had a baseline
	Ways     names.Ways  `cbor:"4,keyasint"`
	Believed bool        `cbor:"5,keyasint,omitempty"` // what is missing went while a run worked on Base
}

// ask names entries of the far side's list by their places in it. Files that are not in the list, since they are as in
// the base, get the places behind it in the order in which they are named.
type ask struct {
	Contents bool     `cbor:"1,keyasint,omitempty"` // else digests
	Places   []uint32 `cbor:"2,keyasint,omitempty"`
	More     bool     `cbor:"3,keyasint,omitempty"` // another ask continues this one
	Names    []string `cbor:"4,keyasint,omitempty"` // files that are not in the list
}

// end ends a stream.
type end struct {
	Fault  *wire.Fault `cbor:"1,keyasint,omitempty"` // the sender gave up
	Commit []byte      `cbor:"2,keyasint,omitempty"` // ID of the baseline to commit
}

// result answers a stream.
type result struct {
	Fault    *wire.Fault `cbor:"1,keyasint,omitempty"`
	Kept     []string    `cbor:"2,keyasint,omitempty"` // what should have gone and is still there
	Warnings []string    `cbor:"3,keyasint,omitempty"`
	More     bool        `cbor:"4,keyasint,omitempty"` // another result continues this one
	Undone   []string    `cbor:"5,keyasint,omitempty"` // steps that settle something and were not taken
	Left     []leftThere `cbor:"6,keyasint,omitempty"` // why they were not, of the first ones
}

// leftThere is a step that the far side could not take.
type leftThere struct {
	Path    string `cbor:"1,keyasint"`
	Why     string `cbor:"2,keyasint"`
	Changed bool   `cbor:"3,keyasint,omitempty"` // since the scan
}

// Bounds on what one message may hold; longer lists go into several.
const (
	maxPlaces   = 100_000
	maxNames    = 100 // paths of up to 4 KiB in one frame of 1 MiB
	maxWarnings = 100 // of one operation; the rest is only counted
	maxWarning  = 2 * tree.MaxPath
	maxBases    = 2
)
