package runs

import (
	"sync"

	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/wire"
)

// An input is the agent's end of the input log. Signals and window sizes are
// acted on as they arrive, so a program that does not read its stdin can still
// be interrupted; stdin waits its turn. What is dealt with is acknowledged in
// the order of the log.
type input struct {
	act func(wire.Record) // signals and window sizes

	mu       sync.Mutex
	dec      wire.RecordDecoder
	received wire.Pos // log bytes taken
	done     wire.Pos // log bytes dealt with
	queue    []item
	changed  chan struct{} // closed and replaced at every change
}

// An item is a record that waits for those before it.
type item struct {
	kind    wire.RecordKind
	payload []byte // of RecordStdin
	size    int    // in the log
}

func newInput(act func(wire.Record)) *input { return &input{act: act, changed: make(chan struct{})} }

// take accepts log bytes at p. What is there already is skipped.
func (in *input) take(p wire.Pos, b []byte) error {
	in.mu.Lock()
	defer in.mu.Unlock()
	skip := in.received - p
	if skip < 0 {
		return fault.New(fault.Protocol, "input continues at %d, want %d", p, in.received)
	}
	if skip >= wire.Pos(len(b)) {
		return nil
	}
	b = b[skip:]
	if in.received-in.done+wire.Pos(len(b)) > wire.RunWindow {
		return fault.New(fault.Protocol, "more than %d bytes of input unasked for", wire.RunWindow)
	}
	_, _ = in.dec.Write(b) // never fails
	in.received += wire.Pos(len(b))
	for {
		r, n, ok, err := in.dec.Next()
		if err != nil {
			return err
		}
		if !ok {
			break
		}
		it := item{kind: r.Kind, size: n}
		switch r.Kind {
		case wire.RecordStdin:
			it.payload = append([]byte(nil), r.Payload...)
		case wire.RecordEOF:
		default:
			in.act(r)
		}
		in.queue = append(in.queue, it)
	}
	in.ring()
	return nil
}

// resume forgets a record of which only a part came before its client died:
// the next client begins with a whole one.
func (in *input) resume() {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.received -= wire.Pos(in.dec.Reset())
	in.ring()
}

// next returns the oldest item that is not dealt with; ok is false when there
// is none before changed is closed.
func (in *input) next() (it item, changed <-chan struct{}, ok bool) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if len(in.queue) == 0 {
		return item{}, in.changed, false
	}
	return in.queue[0], in.changed, true
}

// pop tells that the oldest item is dealt with.
func (in *input) pop() {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.done += wire.Pos(in.queue[0].size)
	in.queue = in.queue[1:]
	in.ring()
}

// look returns how far the log was received and dealt with.
func (in *input) look() (received, done wire.Pos, changed <-chan struct{}) {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.received, in.done, in.changed
}

func (in *input) ring() {
	close(in.changed)
	in.changed = make(chan struct{})
}
