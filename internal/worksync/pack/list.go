package pack

import (
	"fmt"
	"slices"

	"outrigger.dev/outrigger/internal/worksync/tree"
)

// The receiver of a list keeps all of it, and an entry takes it many times the
// bytes that it takes in a block. So that a small message stays a small matter,
// no block of a list may be more than this many times as large as it came, but
// for the first bytes. What would compress further is sent as it is.
const (
	maxSwell = 16
	listFree = 4096
)

// OpenList is [Opener.Open] for a block of a list.
func (o *Opener) OpenList(b []byte) ([]byte, error) {
	raw, err := o.Open(b)
	if err == nil && len(raw) > max(listFree, maxSwell*len(b)) {
		return nil, fmt.Errorf("%w: list of %d bytes in %d, want at most %d times as many", tree.ErrCodec, len(raw), len(b), maxSwell)
	}
	return raw, err
}

// A Lister packs records that need no file: lists of what a side has.
type Lister struct {
	Send func(Block) error
	w    writer
}

// Put adds a record and sends the block when it is full. Lists compress to
// less than half and are short, so they always are.
func (l *Lister) Put(r *Record) error {
	l.w.put(r)
	if l.w.room() > 0 {
		return nil
	}
	return l.Flush()
}

// Flush sends what is left.
func (l *Lister) Flush() error {
	if len(l.w.buf) == 0 {
		return nil
	}
	block := Block{Bytes: l.w.buf}
	if len(l.w.buf) > listFree { // else it fits into a packet or three as it is
		if small := squeeze(slices.Clone(l.w.buf), Fast); len(l.w.buf) <= maxSwell*len(small.Bytes) {
			block = small
		}
	}
	l.w = writer{}
	return l.Send(block)
}
