// Package spool keeps what a run says on the machine's disk until the client
// has it.
//
// A [Log] is a sequence of records (wire.AppendRecord) in segment files named
// after the position of their first byte. Records never cross segments, so a
// log whose head was acknowledged and removed still starts with a record. What
// a crash tore off at the end is cut at the last whole record.
//
// A disk that is full does not lose bytes: from the write that failed on, the
// log is kept in memory. Its owner must then end what it logs ([Log.Broken]).
package spool

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"outrigger.dev/outrigger/internal/agent/disk"
	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/wire"
)

const (
	// segmentSize is after how many bytes a new segment begins. Segments are
	// removed as a whole, so this is also what an attentive client leaves on disk.
	segmentSize = 4 << 20
	// DefaultLimit is how many unacknowledged bytes the disk is asked to hold: a guess.
	DefaultLimit = 256 << 20
)

// A segment is one file; end is the position after its last record.
type segment struct {
	start, end wire.Pos
	file       *os.File
}

// A Log is an output log. Its methods may be called at once.
type Log struct {
	dir   string
	limit int64

	mu       sync.Mutex
	segments []segment // oldest first
	tail     []byte    // after the last segment, when the disk took no more
	broken   error     // why
	acked    wire.Pos
	end      wire.Pos
	changed  chan struct{} // closed and replaced at every change
	head     []byte        // scratch for encoding
	last     wire.RecordKind
}

// Create makes a log in dir, which it creates. At most limit bytes wait for
// acknowledgement before Append does (0: DefaultLimit).
func Create(dir string, limit int64) (*Log, error) {
	if limit <= 0 {
		limit = DefaultLimit
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fault.New(disk.Kind(err), "spool: %w", err)
	}
	l := &Log{dir: dir, limit: limit, changed: make(chan struct{})}
	if err := l.roll(); err != nil {
		return nil, fault.New(disk.Kind(err), "spool: %w", err)
	}
	return l, nil
}

// Append adds payload, in as many records as it needs. It waits while the log
// is at its limit, and fails only when ctx ends.
func (l *Log) Append(ctx context.Context, k wire.RecordKind, payload []byte) error {
	for {
		piece := payload[:min(len(payload), wire.MaxRecord)]
		if err := l.room(ctx); err != nil {
			return err
		}
		l.put(k, piece)
		payload = payload[len(piece):]
		if len(payload) == 0 {
			return nil
		}
	}
}

// room waits until less than the limit is unacknowledged.
func (l *Log) room(ctx context.Context) error {
	for {
		l.mu.Lock()
		full := l.limit > 0 && int64(l.end-l.acked) >= l.limit
		changed := l.changed
		l.mu.Unlock()
		if !full {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Unlimit lets Append never wait again. It is for when the program has ended
// and only its pipes are left, which hold little.
func (l *Log) Unlimit() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.limit = 0
	l.ring()
}

func (l *Log) put(k wire.RecordKind, payload []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.head = wire.AppendRecord(l.head[:0], k, payload)
	if l.broken == nil {
		l.broken = l.write(l.head)
	}
	if l.broken != nil {
		l.tail = append(l.tail, l.head...)
	}
	l.end += wire.Pos(len(l.head))
	l.last = k
	l.ring()
}

// Over tells whether the log ends in the run's exit, behind which nothing is appended.
func (l *Log) Over() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.last == wire.RecordExit
}

// Sync forces what is on the disk to stay there, also when the machine loses its power.
func (l *Log) Sync() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	var errs []error
	for _, s := range l.segments {
		errs = append(errs, s.file.Sync())
	}
	return errors.Join(errs...)
}

// write puts one record on the disk, whole or not at all.
func (l *Log) write(rec []byte) error {
	s := &l.segments[len(l.segments)-1]
	if s.end-s.start >= segmentSize {
		if err := l.roll(); err != nil {
			return err
		}
		s = &l.segments[len(l.segments)-1]
	}
	if _, err := s.file.WriteAt(rec, int64(s.end-s.start)); err != nil {
		return err
	}
	s.end += wire.Pos(len(rec))
	return nil
}

// roll begins a segment at the end of the log.
func (l *Log) roll() error {
	f, err := os.OpenFile(l.name(l.end), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	l.segments = append(l.segments, segment{l.end, l.end, f})
	return nil
}

func (l *Log) name(p wire.Pos) string {
	return filepath.Join(l.dir, fmt.Sprintf("%016x.log", int64(p)))
}

// Broken returns what the disk said when it took no more: a fault of kind
// DiskFull or RemoteFile. Its first appearance is a change, see [Span].
func (l *Log) Broken() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.broken == nil {
		return nil
	}
	return fault.New(disk.Kind(l.broken), "output: %w", l.broken)
}

// A Span says what a log holds.
type Span struct {
	Acked, End wire.Pos
	Changed    <-chan struct{} // closed at the next change
}

// Span returns what the log holds now.
func (l *Log) Span() Span {
	l.mu.Lock()
	defer l.mu.Unlock()
	return Span{l.acked, l.end, l.changed}
}

// ReadAt reads log bytes at p into b, as many as one segment gives.
func (l *Log) ReadAt(b []byte, p wire.Pos) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if p < l.acked || p > l.end {
		return 0, fault.New(fault.RunLost, "output at %d is gone: the log is from %d to %d", p, l.acked, l.end)
	}
	for _, s := range l.segments {
		if p >= s.start && p < s.end {
			n, err := s.file.ReadAt(b[:min(wire.Pos(len(b)), s.end-p)], int64(p-s.start))
			if err != nil {
				return n, fault.New(fault.RemoteFile, "output: %w", err)
			}
			return n, nil
		}
	}
	return copy(b, l.tail[wire.Pos(len(l.tail))-(l.end-p):]), nil
}

// Ack tells that everything before p is with the client; segments that hold
// nothing else are removed.
func (l *Log) Ack(p wire.Pos) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if p > l.end {
		return fault.New(fault.Protocol, "output acknowledged up to %d, but only %d was sent", p, l.end)
	}
	if p <= l.acked {
		return nil
	}
	l.acked = p
	l.ring()
	var errs []error
	for len(l.segments) > 1 && l.segments[0].end <= p {
		errs = append(errs, l.segments[0].file.Close(), removeFile(l.name(l.segments[0].start)))
		l.segments = l.segments[1:]
	}
	if inMemory := l.end - p; wire.Pos(len(l.tail)) > inMemory {
		l.tail = append([]byte(nil), l.tail[wire.Pos(len(l.tail))-inMemory:]...)
	}
	return errors.Join(errs...)
}

// removeFile ignores a file that is gone: the lease's folder may go first.
func removeFile(name string) error {
	if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// Close closes the files and leaves them where they are.
func (l *Log) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	var errs []error
	for _, s := range l.segments {
		errs = append(errs, s.file.Close())
	}
	l.segments = nil
	l.acked = l.end
	return errors.Join(errs...)
}

func (l *Log) ring() {
	close(l.changed)
	l.changed = make(chan struct{})
}
