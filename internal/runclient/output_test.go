package runclient

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"

	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/wire"
)

// records makes an output log that ends in exit code 3.
func records(t testing.TB, pieces ...string) []byte {
	t.Helper()
	var log []byte
	for _, p := range pieces {
		log = wire.AppendRecord(log, wire.RecordStdout, []byte(p))
	}
	b, err := wire.Marshal(Exit{Code: 3})
	if err != nil {
		t.Fatal(err)
	}
	return wire.AppendRecord(log, wire.RecordExit, b)
}

func TestOutputThatComesTwiceIsWrittenOnce(t *testing.T) {
	log := records(t, "one", "two", "three")
	var got bytes.Buffer
	o := newOutput(&got, nil)
	// Each piece overlaps the one before, as after reconnects.
	for end := 5; ; end += 5 {
		if err := o.take(wire.Pos(max(0, end-11)), log[max(0, end-11):min(end, len(log))]); err != nil {
			t.Fatal(err)
		}
		if end >= len(log) {
			break
		}
	}
	o.write(t.Context().Done())
	p := o.look()
	if got.String() != "onetwothree" || p.exit == nil || p.exit.Code != 3 || p.written != wire.Pos(len(log)) {
		t.Errorf("got %q, %+v", got.String(), p)
	}
}

func TestOutputThatDoesNotFollowIsRefused(t *testing.T) {
	o := newOutput(nil, nil)
	if err := o.take(1, []byte("x")); !fault.Is(err, fault.Protocol) {
		t.Errorf("a gap: %v, want Protocol", err)
	}
	piece := make([]byte, 1<<20)
	var err error
	for p := wire.Pos(0); err == nil && p <= wire.RunWindow; p += wire.Pos(len(piece)) {
		err = o.take(p, piece)
	}
	if !fault.Is(err, fault.Protocol) {
		t.Errorf("more than the window: %v, want Protocol", err)
	}
}

func TestInputWaitsForTheAgent(t *testing.T) {
	l := newInputLog()
	payload := make([]byte, wire.MaxRecord)
	ended, end := context.WithCancel(t.Context())
	end()
	n := 0
	for l.add(ended, wire.RecordStdin, payload, true) == nil {
		n++
	}
	if n*wire.RecordSize(len(payload)) < maxInput || n*len(payload) > 2*maxInput {
		t.Errorf("%d records were taken before stdin had to wait", n)
	}
	if err := l.add(ended, wire.RecordSignal, []byte("INT"), false); err != nil {
		t.Errorf("a signal had to wait: %v", err)
	}
	waiting := make(chan error)
	go func() { waiting <- l.add(t.Context(), wire.RecordStdin, payload, true) }()
	l.ack(maxInput)
	if err := <-waiting; err != nil {
		t.Error(err)
	}
	if _, _, ok := l.from(maxInput-1, 1); ok {
		t.Error("what was acknowledged is still there")
	}
}

func TestStdinThatCannotBeReadIsAtItsEnd(t *testing.T) {
	l := newInputLog()
	broken := errors.New("broken")
	if err := l.feed(t.Context(), errReader{strings.NewReader("abc"), broken}); !errors.Is(err, broken) {
		t.Errorf("got %v, want the reader's error", err)
	}
	want := wire.AppendRecord(wire.AppendRecord(nil, wire.RecordStdin, []byte("abc")), wire.RecordEOF, nil)
	if got, _, _ := l.from(0, 1000); !bytes.Equal(got, want) {
		t.Errorf("log is %q, want %q", got, want)
	}
}

// An errReader fails where the other ends.
type errReader struct {
	*strings.Reader
	err error
}

// Read implements io.Reader.
func (r errReader) Read(b []byte) (int, error) {
	n, err := r.Reader.Read(b)
	if err != nil {
		err = r.err
	}
	return n, err
}

// FuzzOutput holds that whatever an agent sends, in whatever order, nothing
// panics, and no more is kept than was allowed.
func FuzzOutput(f *testing.F) {
	f.Add(records(f, "abc", "d"), int64(0), []byte("x"), int64(3))
	f.Add([]byte{1, 0xff, 0xff, 0xff}, int64(0), []byte{3, 0, 0, 1, 0xff}, int64(4))
	f.Fuzz(func(t *testing.T, a []byte, p int64, b []byte, q int64) {
		o := newOutput(nil, nil)
		done := make(chan struct{})
		close(done)
		for _, in := range []struct {
			p wire.Pos
			b []byte
		}{{wire.Pos(p), a}, {wire.Pos(q), b}} {
			if in.p < 0 {
				continue // Frame.Log refuses it
			}
			if err := o.take(in.p, in.b); err != nil {
				return
			}
			o.write(done)
		}
		if l := o.look(); l.written > l.received || l.received > wire.Pos(len(a)+len(b)) {
			t.Errorf("written %d, received %d of %d", l.written, l.received, len(a)+len(b))
		}
	})
}
