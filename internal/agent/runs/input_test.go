package runs

import (
	"strings"
	"testing"

	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/wire"
)

func TestSignalsDoNotWaitBehindStdin(t *testing.T) {
	var acts []string
	in := newInput(func(r wire.Record) { acts = append(acts, string(r.Payload)) })
	var log []byte
	log = wire.AppendRecord(log, wire.RecordStdin, []byte("not read yet"))
	first := wire.Pos(len(log))
	log = wire.AppendRecord(log, wire.RecordSignal, []byte("INT"))
	if err := in.take(0, log); err != nil {
		t.Fatal(err)
	}
	if strings.Join(acts, " ") != "INT" {
		t.Errorf("acted on %q, want INT", acts)
	}
	// It is acknowledged in its turn, so a client that comes back does not send it again.
	if received, done, _ := in.look(); received != wire.Pos(len(log)) || done != 0 {
		t.Errorf("received %d, done %d", received, done)
	}
	if err := in.take(0, log); err != nil || len(acts) != 1 {
		t.Errorf("sent again: %v, acted on %q", err, acts)
	}
	in.pop()
	if _, done, _ := in.look(); done != first {
		t.Errorf("done %d after stdin was written, want %d", done, first)
	}
	in.pop()
	if _, done, _ := in.look(); done != wire.Pos(len(log)) {
		t.Errorf("done %d at the end, want %d", done, len(log))
	}
}

func TestInputIsBounded(t *testing.T) {
	in := newInput(func(wire.Record) {})
	piece := wire.AppendRecord(nil, wire.RecordStdin, make([]byte, wire.MaxRecord))
	var err error
	for p := wire.Pos(0); err == nil && p <= wire.RunWindow; p += wire.Pos(len(piece)) {
		err = in.take(p, piece)
	}
	if !fault.Is(err, fault.Protocol) {
		t.Errorf("more than the window: %v, want Protocol", err)
	}
}

// FuzzInput holds that whatever a client sends, nothing panics, and what is
// acknowledged was received.
func FuzzInput(f *testing.F) {
	f.Add(wire.AppendRecord(wire.AppendRecord(nil, wire.RecordStdin, []byte("a")), wire.RecordEOF, nil), int64(0), []byte("x"), int64(2))
	f.Add([]byte{18, 0, 0, 3, 'I'}, int64(0), []byte("NT"), int64(5))
	f.Fuzz(func(t *testing.T, a []byte, p int64, b []byte, q int64) {
		in := newInput(func(wire.Record) {})
		for _, s := range []struct {
			p wire.Pos
			b []byte
		}{{wire.Pos(p), a}, {wire.Pos(q), b}} {
			if s.p < 0 {
				continue // Frame.Log refuses it
			}
			if err := in.take(s.p, s.b); err != nil {
				return
			}
		}
		for {
			if _, _, ok := in.next(); !ok {
				break
			}
			in.pop()
		}
		if received, done, _ := in.look(); done > received {
			t.Errorf("done %d, received %d", done, received)
		}
	})
}
