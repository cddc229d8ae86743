// Package parcel carries a file or a folder as one stream, as tar does: with
// contents, modes, times and links, which are never followed. Devices, sockets
// and pipes stay behind and are named.
//
// [Pack] and [Unpack] are the two ends. [Get] and [Put] join one end here with
// the other at an agent, over internal/wire. Who sends says what the things in a
// folder are called; who receives decides where they go and what the whole is
// called, follows no link and writes nothing outside.
package parcel

import (
	"io"
	"time"

	"outrigger.dev/outrigger/internal/fault"
)

// A Report tells what was carried.
type Report struct {
	Files int64 `cbor:"1,keyasint,omitempty" json:"files"`
	Dirs  int64 `cbor:"2,keyasint,omitempty" json:"dirs"`
	Links int64 `cbor:"3,keyasint,omitempty" json:"links"`
	Bytes int64 `cbor:"4,keyasint,omitempty" json:"bytes"` // of content
	// Skipped names what cannot be carried, the first maxSkipped of it.
	Skipped []string `cbor:"5,keyasint,omitempty" json:"skipped,omitempty"`
}

// maxSkipped bounds a list that a machine sends: a /dev has hundreds of entries.
const maxSkipped = 100

func (r *Report) skip(name, why string) {
	if len(r.Skipped) < maxSkipped {
		r.Skipped = append(r.Skipped, name+": "+why)
	}
}

func firstOf(skipped []string) []string { return skipped[:min(len(skipped), maxSkipped)] }

// Options tune one end.
type Options struct {
	// Side is the kind of fault for a file that cannot be read or written:
	// LocalFile here, RemoteFile at the agent.
	Side fault.Kind
	// Asked is, for Get, the name that the request has.
	Asked string
	// Progress hears how far it is, from the goroutine that carries; may be nil.
	Progress func(Report)
}

func (o Options) tell(r Report) {
	if o.Progress != nil {
		o.Progress(r)
	}
}

// metered counts content as it passes.
type metered struct {
	io.Reader
	r *Report
	o Options
}

func (m metered) Read(b []byte) (int, error) {
	n, err := m.Reader.Read(b)
	m.r.Bytes += int64(n)
	m.o.tell(*m.r)
	return n, err
}

// stamp is t as tar can carry it: not before 1970.
func stamp(t time.Time) time.Time {
	if t.Unix() < 0 {
		return time.Unix(0, 0)
	}
	return t
}
