// Package pack turns steps, and the files they need, into blocks of bytes, and
// blocks into steps again.
//
// Small files share a block, so that the link sees few large pieces instead of
// many small ones; a large file is spread over several. A block stands by
// itself: it is raw or compressed, and its paths are written as differences
// within the block only. Files are read by several goroutines, while blocks
// leave in the order of the steps.
package pack

import (
	"encoding/binary"
	"fmt"

	"outrigger.dev/outrigger/internal/worksync/tree"
)

// A Kind is what a record says.
type Kind byte

// The kinds of record.
const (
	Delete Kind = iota + 1 // Path
	Make                   // Entry: a folder or link
	Meta                   // Entry
	Write                  // Entry, Content: a whole file
	Begin                  // Entry: a file whose content follows in pieces; its size is a guess
	Piece                  // Content
	Drop                   // the file that began changed while it was read; it begins again
	End                    // Entry: the file that began, as it was read
	Agree                  // Entry: both sides have it already
	Forget                 // Path: neither side has it any more
	Have                   // Entry: this side has it (in a list)
	Closed                 // Entry, Why: it cannot be read, and of a folder nothing that is in it (in a list)
	Holds                  // Path: the folder holds what is not synced (in a list)
	Skip                   // Path, Why: the file was not read; without a reason it was gone
	Aside                  // Path, Why: rename it, Why is what its name is to end with
)

const (
	// bitSettles marks a step after which both sides agree on the path.
	bitSettles = 1 << 7
	// bitWhen marks an entry of a list with the time of its last change.
	bitWhen = 1 << 6
)

// A Record is one thing that a block says.
type Record struct {
	Kind    Kind
	Settles bool
	Path    string // of those without an Entry
	Entry   tree.Entry
	Why     string
	Content []byte
	// When the entry was last changed on its side, content, name or mode, in nanoseconds; of
	// Have and Closed. 0: not said.
	When int64
}

// timed tells whether a record can say when.
func (r *Record) timed() bool { return r.Kind == Have || r.Kind == Closed }

// maxWhy is how long a reason may be.
const maxWhy = 300

// BlockSize is what a block holds at most, before compression. It is below
// wire.MaxFrame, so that a block that does not compress still fits.
const BlockSize = 512 << 10

// overhead is more than any record needs beside its content: two paths and numbers.
const overhead = 2*tree.MaxPath + 256

// maxInline is the largest file that is packed with others.
const maxInline = 128 << 10

// writer fills one block.
type writer struct {
	buf     []byte
	enc     tree.Encoder
	content int64
}

func (w *writer) room() int { return BlockSize - len(w.buf) - overhead }

func (w *writer) put(r *Record) {
	head := byte(r.Kind)
	if r.Settles {
		head |= bitSettles
	}
	if r.timed() && r.When != 0 {
		head |= bitWhen
	}
	w.buf = append(w.buf, head)
	switch r.Kind {
	case Delete, Forget, Holds, Skip, Aside:
		w.buf = w.enc.AppendPath(w.buf, r.Path)
	case Make, Meta, Write, Begin, End, Agree, Have, Closed:
		w.buf = w.enc.Append(w.buf, &r.Entry)
	}
	if head&bitWhen != 0 {
		w.buf = binary.AppendVarint(w.buf, r.When)
	}
	switch r.Kind {
	case Closed, Skip, Aside:
		why := r.Why[:min(len(r.Why), maxWhy)]
		w.buf = binary.AppendUvarint(w.buf, uint64(len(why)))
		w.buf = append(w.buf, why...)
	case Write, Piece:
		w.buf = binary.AppendUvarint(w.buf, uint64(len(r.Content)))
		w.buf = append(w.buf, r.Content...)
		w.content += int64(len(r.Content))
	}
}

// A Reader reads the records of one block.
type Reader struct{ d *tree.Decoder }

// NewReader reads from the raw bytes of a block.
func NewReader(block []byte) *Reader { return &Reader{tree.NewDecoder(block)} }

// More tells whether there are further records.
func (r *Reader) More() bool { return r.d.More() }

// Next reads a record. Its content is part of the block.
func (r *Reader) Next() (Record, error) {
	var rec Record
	head, err := r.d.Byte()
	if err != nil {
		return rec, err
	}
	rec.Kind, rec.Settles = Kind(head&^(bitSettles|bitWhen)), head&bitSettles != 0
	switch rec.Kind {
	case Delete, Forget, Holds, Skip, Aside:
		rec.Path, err = r.d.Path()
	case Make, Meta, Write, Begin, End, Agree, Have, Closed:
		rec.Entry, err = r.d.Entry()
		rec.Path = rec.Entry.Path
	case Piece, Drop:
	default:
		return rec, fmt.Errorf("%w: record of kind %d", tree.ErrCodec, rec.Kind)
	}
	if err == nil {
		err = rec.check()
	}
	if err == nil && head&bitWhen != 0 {
		rec.When, err = r.when(rec)
	}
	if err == nil && (rec.Kind == Closed || rec.Kind == Skip || rec.Kind == Aside) {
		rec.Why, err = r.why()
	}
	if err != nil || rec.Kind != Write && rec.Kind != Piece {
		return rec, err
	}
	n, err := r.d.Uvarint()
	if err != nil {
		return rec, err
	}
	if n > BlockSize {
		return rec, fmt.Errorf("%w: content of %d bytes in a block", tree.ErrCodec, n)
	}
	rec.Content, err = r.d.Bytes(int(n))
	return rec, err
}

// when reads a time, which is there only to be said.
func (r *Reader) when(rec Record) (int64, error) {
	when, err := r.d.Varint()
	if err == nil && (when == 0 || !rec.timed()) {
		err = fmt.Errorf("%w: record of kind %d with the time %d", tree.ErrCodec, rec.Kind, when)
	}
	return when, err
}

// why reads a reason.
func (r *Reader) why() (string, error) {
	n, err := r.d.Uvarint()
	if err != nil {
		return "", err
	}
	if n > maxWhy {
		return "", fmt.Errorf("%w: reason of %d bytes", tree.ErrCodec, n)
	}
	b, err := r.d.Bytes(int(n))
	return string(b), err
}

// check holds a record's entry against its kind.
func (r *Record) check() error {
	ok := true
	switch r.Kind {
	case Make:
		ok = r.Entry.Kind == tree.Dir || r.Entry.Kind == tree.Link
	case Meta:
		ok = r.Entry.Kind == tree.Dir || r.Entry.Kind == tree.File
	case Begin:
		ok = r.Entry.Kind == tree.File
	case Write, End:
		ok = r.Entry.Kind == tree.File && r.Entry.Digest.Known()
	case Agree:
		ok = r.Entry.Kind != tree.Special && (r.Entry.Kind != tree.File || r.Entry.Digest.Known())
	}
	if !ok {
		return fmt.Errorf("%w: record of kind %d about a %v", tree.ErrCodec, r.Kind, r.Entry.Kind)
	}
	return nil
}
