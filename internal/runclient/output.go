package runclient

import (
	"io"
	"sync"

	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/wire"
)

// An output takes the output log's bytes as they arrive and writes them to
// the streams in their order, at the streams' own pace.
type output struct {
	out, err io.Writer

	mu       sync.Mutex
	dec      wire.RecordDecoder
	received wire.Pos // log bytes taken
	written  wire.Pos // log bytes dealt with
	exit     *Exit    // once everything before it is written
	broken   error    // what a stream's Write said
	failed   error    // the log makes no sense
	changed  chan struct{}
}

func newOutput(out, err io.Writer) *output {
	if out == nil {
		out = io.Discard
	}
	if err == nil {
		err = io.Discard
	}
	return &output{out: out, err: err, changed: make(chan struct{})}
}

// resume makes p the position of the first byte to come.
func (o *output) resume(p wire.Pos) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.received, o.written = p, p
}

// take accepts log bytes at p. What is there already is skipped: after a
// reconnect the agent sends from where we said that we are.
func (o *output) take(p wire.Pos, b []byte) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	skip := o.received - p
	if skip < 0 {
		return fault.New(fault.Protocol, "run: output continues at %d, want %d", p, o.received)
	}
	if skip >= wire.Pos(len(b)) {
		return nil
	}
	b = b[skip:]
	if o.received-o.written+wire.Pos(len(b)) > wire.RunWindow {
		return fault.New(fault.Protocol, "run: more than %d bytes of output unasked for", wire.RunWindow)
	}
	_, _ = o.dec.Write(b) // never fails
	o.received += wire.Pos(len(b))
	o.ring()
	return nil
}

// write is the goroutine that writes. It ends at the exit record, or when
// done is closed.
func (o *output) write(done <-chan struct{}) {
	buf := make([]byte, 0, wire.MaxRecord)
	for {
		o.mu.Lock()
		r, n, ok, err := o.dec.Next()
		changed := o.changed
		if err != nil {
			o.failed = err
			o.ring()
		}
		buf = append(buf[:0], r.Payload...)
		discard := o.broken != nil
		o.mu.Unlock()
		if err != nil {
			return
		}
		if !ok {
			select {
			case <-changed:
				continue
			case <-done:
				return
			}
		}
		var exit *Exit
		switch r.Kind {
		case wire.RecordStdout, wire.RecordStderr:
			w := o.out
			if r.Kind == wire.RecordStderr {
				w = o.err
			}
			if !discard {
				_, err = w.Write(buf)
			}
		case wire.RecordExit:
			exit = new(Exit)
			if derr := wire.Unmarshal(buf, exit); derr != nil {
				exit.Fault = wire.FaultOf(fault.New(fault.Protocol, "run: decode exit: %w", derr))
			}
		}
		o.mu.Lock()
		o.written += wire.Pos(n)
		o.exit = exit
		if err != nil {
			o.broken = err
		}
		o.ring()
		o.mu.Unlock()
		if exit != nil {
			return
		}
	}
}

func (o *output) ring() {
	close(o.changed)
	o.changed = make(chan struct{})
}

// A progress is a look at an output.
type progress struct {
	received, written wire.Pos
	exit              *Exit
	broken, failed    error
	changed           <-chan struct{}
}

func (o *output) look() progress {
	o.mu.Lock()
	defer o.mu.Unlock()
	return progress{o.received, o.written, o.exit, o.broken, o.failed, o.changed}
}
