package runclient

import (
	"context"
	"io"
	"sync"

	"outrigger.dev/outrigger/internal/wire"
)

// maxInput is how much stdin may wait for the agent, in log bytes. Then whoever
// writes our stdin has to wait, as with a pipe. The agent accepts twice as
// much, so signals and window sizes always fit behind it.
const maxInput = wire.RunWindow / 2

// An inputLog holds what the run is told, from the first byte that the agent
// has not acknowledged.
type inputLog struct {
	mu      sync.Mutex
	buf     []byte
	start   wire.Pos      // of buf[0]
	changed chan struct{} // closed and replaced at every change
}

func newInputLog() *inputLog { return &inputLog{changed: make(chan struct{})} }

// add appends a record. With wait it first waits for room.
func (l *inputLog) add(ctx context.Context, k wire.RecordKind, payload []byte, wait bool) error {
	for {
		l.mu.Lock()
		if !wait || len(l.buf) < maxInput {
			l.buf = wire.AppendRecord(l.buf, k, payload)
			l.ring()
			l.mu.Unlock()
			return nil
		}
		changed := l.changed
		l.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// from returns a copy of up to max bytes at p, and a channel that is closed at
// the next change. ok is false when p is outside what is held.
func (l *inputLog) from(p wire.Pos, max int) (b []byte, changed <-chan struct{}, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if p < l.start || p > l.start+wire.Pos(len(l.buf)) {
		return nil, l.changed, false
	}
	b = l.buf[p-l.start:]
	return append([]byte(nil), b[:min(max, len(b))]...), l.changed, true
}

// first is the position of the first byte that the agent has not acknowledged.
func (l *inputLog) first() wire.Pos {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.start
}

// resume makes p the position of the log's first byte.
func (l *inputLog) resume(p wire.Pos) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.start = p
}

// ack forgets what is before p.
func (l *inputLog) ack(p wire.Pos) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := min(p-l.start, wire.Pos(len(l.buf)))
	if n <= 0 {
		return
	}
	l.buf = append(l.buf[:0], l.buf[n:]...)
	l.start += n
	l.ring()
}

func (l *inputLog) ring() {
	close(l.changed)
	l.changed = make(chan struct{})
}

// feed appends all of r, then its end.
func (l *inputLog) feed(ctx context.Context, r io.Reader) error {
	buf := make([]byte, wire.MaxRecord/2)
	for {
		n, err := r.Read(buf)
		if n > 0 {
			if err := l.add(ctx, wire.RecordStdin, buf[:n], true); err != nil {
				return err
			}
		}
		if err != nil {
			// A stdin that cannot be read has ended as far as the program can know.
			if addErr := l.add(ctx, wire.RecordEOF, nil, false); addErr != nil {
				return addErr
			}
			if err == io.EOF {
				return nil
			}
			return err
		}
	}
}
