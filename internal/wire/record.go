package wire

import (
	"encoding/binary"
	"fmt"

	"outrigger.dev/outrigger/internal/fault"
)

// A Pos is a position in a log: how many bytes are before it.
type Pos int64

// A RecordKind tells what a record of a run's log holds.
type RecordKind byte

// Kinds of records. The first three are of the output log, the others of the
// input log.
const (
	RecordStdout RecordKind = 1 // bytes; a terminal's output too
	RecordStderr RecordKind = 2 // bytes
	RecordExit   RecordKind = 3 // CBOR of RunExit; the last

	RecordStdin  RecordKind = 16 // bytes
	RecordEOF    RecordKind = 17 // empty: no more stdin
	RecordSignal RecordKind = 18 // a signal's name without SIG
	RecordResize RecordKind = 19 // CBOR of WinSize
)

// MaxRecord is the longest payload of a record, in bytes.
const MaxRecord = 64 << 10

// recordHead is the kind's byte and three of length.
const recordHead = 4

// AppendRecord appends a record to a log's bytes: one byte of kind, three of
// length (big endian), the payload. It panics above MaxRecord: the caller cuts.
func AppendRecord(b []byte, k RecordKind, payload []byte) []byte {
	if len(payload) > MaxRecord {
		panic(fmt.Sprintf("wire: record of %d bytes", len(payload)))
	}
	b = binary.BigEndian.AppendUint32(b, uint32(k)<<24|uint32(len(payload)))
	return append(b, payload...)
}

// RecordSize is how many bytes of log a payload of n bytes takes.
func RecordSize(n int) int { return recordHead + n }

// A Record is one record as decoded. Payload is valid until the decoder's next call.
type Record struct {
	Kind    RecordKind
	Payload []byte
}

// A RecordDecoder cuts a log's bytes, which may come in any pieces, into records.
// The zero RecordDecoder is ready to use.
type RecordDecoder struct{ buf []byte }

// Write takes further bytes of the log.
func (d *RecordDecoder) Write(b []byte) (int, error) {
	d.buf = append(d.buf, b...)
	return len(b), nil
}

// Reset forgets a record that is not complete, and tells how many bytes it had.
func (d *RecordDecoder) Reset() int {
	n := len(d.buf)
	d.buf = nil
	return n
}

// Next returns the next record that is complete; ok is false when more bytes
// are needed. The record takes n bytes of the log. A record of an unknown kind
// is passed on, one that is too long is a fault.
func (d *RecordDecoder) Next() (r Record, n int, ok bool, err error) {
	if len(d.buf) < recordHead {
		return Record{}, 0, false, nil
	}
	head := binary.BigEndian.Uint32(d.buf)
	size := int(head & 0xffffff)
	if size > MaxRecord {
		return Record{}, 0, false, fault.New(fault.Protocol, "wire: record of %d bytes, want at most %d", size, MaxRecord)
	}
	n = recordHead + size
	if len(d.buf) < n {
		return Record{}, 0, false, nil
	}
	r = Record{RecordKind(head >> 24), d.buf[recordHead:n]}
	d.buf = d.buf[n:]
	return r, n, true, nil
}

// SendLog sends log bytes that begin at p.
func (c *Conn) SendLog(p Pos, b []byte) error {
	var head [8]byte
	binary.BigEndian.PutUint64(head[:], uint64(p))
	return c.SendBytes(TypeRunLog, head[:], b)
}

// SendAck acknowledges all log bytes before p.
func (c *Conn) SendAck(p Pos) error {
	var head [8]byte
	binary.BigEndian.PutUint64(head[:], uint64(p))
	return c.SendBytes(TypeRunAck, head[:])
}

// Log returns the position and the bytes of a TypeRunLog frame, and the
// position of a TypeRunAck.
func (f Frame) Log() (Pos, []byte, error) {
	if len(f.Payload) < 8 {
		return 0, nil, fault.New(fault.Protocol, "wire: run frame of %d bytes, want at least 8", len(f.Payload))
	}
	p := Pos(binary.BigEndian.Uint64(f.Payload))
	if p < 0 {
		return 0, nil, fault.New(fault.Protocol, "wire: negative log position")
	}
	return p, f.Payload[8:], nil
}
