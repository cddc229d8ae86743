package wire_test

import (
	"bytes"
	"testing"

	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/wire"
)

func TestRecordsSurviveBeingCutAnywhere(t *testing.T) {
	var log []byte
	log = wire.AppendRecord(log, wire.RecordStdout, []byte("one"))
	log = wire.AppendRecord(log, wire.RecordEOF, nil)
	log = wire.AppendRecord(log, wire.RecordStderr, bytes.Repeat([]byte("x"), wire.MaxRecord))
	for _, piece := range []int{1, 2, 3, 5, 4096, len(log)} {
		var again []byte
		var total int
		var d wire.RecordDecoder
		for rest := log; len(rest) > 0; {
			n := min(piece, len(rest))
			_, _ = d.Write(rest[:n]) // never fails
			rest = rest[n:]
			for {
				r, n, ok, err := d.Next()
				if err != nil {
					t.Fatal(err)
				}
				if !ok {
					break
				}
				again = wire.AppendRecord(again, r.Kind, r.Payload)
				total += n
			}
		}
		if !bytes.Equal(again, log) || total != len(log) {
			t.Errorf("pieces of %d: %d bytes came out (counted %d), want %d", piece, len(again), total, len(log))
		}
	}
}

func TestRecordTooLongIsRefusedBeforeItsBytesCome(t *testing.T) {
	var d wire.RecordDecoder
	_, _ = d.Write([]byte{1, 0xff, 0xff, 0xff}) // never fails
	if _, _, _, err := d.Next(); !fault.Is(err, fault.Protocol) {
		t.Errorf("got %v, want a fault of kind Protocol", err)
	}
}

// FuzzRecords holds that what the decoder accepts is, encoded again, what it was given.
func FuzzRecords(f *testing.F) {
	f.Add(wire.AppendRecord(nil, wire.RecordStdout, []byte("abc")), 1)
	f.Add([]byte{1, 0, 0, 9, 'a'}, 3)
	f.Add([]byte{255, 255, 255, 255}, 4)
	f.Fuzz(func(t *testing.T, in []byte, piece int) {
		if piece < 1 {
			piece = 1
		}
		var d wire.RecordDecoder
		var again []byte
		for rest := in; len(rest) > 0; {
			n := min(piece, len(rest))
			_, _ = d.Write(rest[:n]) // never fails
			rest = rest[n:]
			for {
				r, _, ok, err := d.Next()
				if err != nil {
					return
				}
				if !ok {
					break
				}
				again = wire.AppendRecord(again, r.Kind, r.Payload)
			}
		}
		if !bytes.HasPrefix(in, again) {
			t.Errorf("read %q, encoded again as %q", in, again)
		}
	})
}

func FuzzRunFrames(f *testing.F) {
	f.Add([]byte("\x00\x00\x00\x00\x00\x00\x00\x09abc"))
	f.Add([]byte("\xff"))
	f.Fuzz(func(t *testing.T, in []byte) {
		fr := wire.Frame{Type: wire.TypeRunLog, Payload: in}
		p, b, err := fr.Log()
		if err == nil && (p < 0 || len(b) != len(in)-8) {
			t.Errorf("position %d with %d bytes from %q", p, len(b), in)
		}
		for _, v := range []any{&wire.RunSpec{}, &wire.RunStart{}, &wire.RunAttach{}, &wire.RunJoined{}, &wire.RunExit{}, &wire.RunKill{},
			&wire.WinSize{}, &wire.LeaseAcquire{}, &wire.Lease{}, &wire.LinkRequest{}, &wire.SyncRequest{}, &wire.Info{}} {
			_ = fr.Decode(v) // only a panic is wrong here
		}
	})
}
