package tree

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// ErrCodec is an encoded entry that cannot be read.
var ErrCodec = errors.New("tree: malformed entry")

// Bits of an encoded entry's first byte, above the kind.
const (
	bitDigest = 1 << 3
	bitTime   = 1 << 4 // of a folder; a baseline of an earlier version has none
	kindMask  = 7
)

// An Encoder appends entries to a buffer. Each path is written as what it adds
// to the one before, so lists should be in walk order.
type Encoder struct{ prev string }

// Append encodes e.
func (c *Encoder) Append(b []byte, e *Entry) []byte {
	head := byte(e.Kind)
	if e.Digest.Known() {
		head |= bitDigest
	}
	if e.Kind == Dir && e.MTime != 0 {
		head |= bitTime
	}
	b = append(b, head)
	b = c.AppendPath(b, e.Path)
	switch e.Kind {
	case File:
		b = binary.AppendUvarint(b, uint64(e.Mode))
		b = binary.AppendUvarint(b, uint64(e.Size))
		b = binary.AppendVarint(b, e.MTime)
	case Dir:
		b = binary.AppendUvarint(b, uint64(e.Mode))
		if e.MTime != 0 {
			b = binary.AppendVarint(b, e.MTime)
		}
	case Link:
		b = binary.AppendUvarint(b, uint64(len(e.Target)))
		b = append(b, e.Target...)
	}
	if e.Digest.Known() {
		b = append(b, e.Digest[:]...)
	}
	return b
}

// AppendPath encodes a path alone.
func (c *Encoder) AppendPath(b []byte, path string) []byte {
	shared := 0
	for shared < min(len(path), len(c.prev)) && path[shared] == c.prev[shared] {
		shared++
	}
	c.prev = path
	b = binary.AppendUvarint(b, uint64(shared))
	b = binary.AppendUvarint(b, uint64(len(path)-shared))
	return append(b, path[shared:]...)
}

// A Decoder reads what an [Encoder] wrote, believing nothing: paths are checked
// with [CheckPath], numbers against their ranges.
type Decoder struct {
	rest []byte
	prev string
}

// NewDecoder reads from b.
func NewDecoder(b []byte) *Decoder { return &Decoder{rest: b} }

// More tells whether bytes are left.
func (d *Decoder) More() bool { return len(d.rest) > 0 }

// Entry reads an entry.
func (d *Decoder) Entry() (Entry, error) {
	var e Entry
	head, err := d.Byte()
	if err != nil {
		return e, err
	}
	e.Kind = Kind(head & kindMask)
	if head&^(kindMask|bitDigest|bitTime) != 0 || e.Kind < File || e.Kind > Special ||
		head&bitDigest != 0 && e.Kind != File || head&bitTime != 0 && e.Kind != Dir {
		return e, fmt.Errorf("%w: first byte %#x", ErrCodec, head)
	}
	if e.Path, err = d.Path(); err != nil {
		return e, err
	}
	if err := d.body(&e); err != nil {
		return e, err
	}
	if head&bitTime != 0 {
		if e.MTime, err = d.Varint(); err != nil {
			return e, err
		}
		if e.MTime == 0 {
			return e, fmt.Errorf("%w: %q: time of zero", ErrCodec, e.Path)
		}
	}
	if head&bitDigest != 0 {
		raw, err := d.Bytes(len(e.Digest))
		if err != nil {
			return e, err
		}
		copy(e.Digest[:], raw)
		if !e.Digest.Known() {
			return e, fmt.Errorf("%w: %q: digest of zeros", ErrCodec, e.Path)
		}
	}
	return e, nil
}

func (d *Decoder) body(e *Entry) error {
	if e.Kind == File || e.Kind == Dir {
		mode, err := d.Uvarint()
		if err != nil {
			return err
		}
		if mode > 0o7777 {
			return fmt.Errorf("%w: %q: mode %#o", ErrCodec, e.Path, mode)
		}
		e.Mode = uint32(mode)
	}
	switch e.Kind {
	case File:
		size, err := d.Uvarint()
		if err != nil {
			return err
		}
		if e.Size = int64(size); e.Size < 0 {
			return fmt.Errorf("%w: %q: size %d", ErrCodec, e.Path, size)
		}
		e.MTime, err = d.Varint()
		return err
	case Link:
		n, err := d.Uvarint()
		if err != nil {
			return err
		}
		if n == 0 || n > MaxPath {
			return fmt.Errorf("%w: %q: link target of %d bytes", ErrCodec, e.Path, n)
		}
		raw, err := d.Bytes(int(n))
		e.Target = string(raw)
		return err
	}
	return nil
}

// Path reads a path and checks it.
func (d *Decoder) Path() (string, error) {
	shared, err := d.Uvarint()
	if err != nil {
		return "", err
	}
	added, err := d.Uvarint()
	if err != nil {
		return "", err
	}
	if shared > uint64(len(d.prev)) || added > MaxPath {
		return "", fmt.Errorf("%w: path of %d+%d bytes after one of %d", ErrCodec, shared, added, len(d.prev))
	}
	tail, err := d.Bytes(int(added))
	if err != nil {
		return "", err
	}
	path := d.prev[:shared] + string(tail)
	if err := CheckPath(path); err != nil {
		return "", err
	}
	d.prev = path
	return path, nil
}

// Byte reads one byte.
func (d *Decoder) Byte() (byte, error) {
	b, err := d.Bytes(1)
	if err != nil {
		return 0, err
	}
	return b[0], nil
}

// Bytes reads n bytes, which stay part of the decoder's buffer.
func (d *Decoder) Bytes(n int) ([]byte, error) {
	if n < 0 || n > len(d.rest) {
		return nil, fmt.Errorf("%w: %d bytes left, want %d", ErrCodec, len(d.rest), n)
	}
	b := d.rest[:n]
	d.rest = d.rest[n:]
	return b, nil
}

// Uvarint reads an unsigned number.
func (d *Decoder) Uvarint() (uint64, error) {
	v, n := binary.Uvarint(d.rest)
	if n <= 0 {
		return 0, fmt.Errorf("%w: number cut short or too long", ErrCodec)
	}
	d.rest = d.rest[n:]
	return v, nil
}

// Varint reads a signed number.
func (d *Decoder) Varint() (int64, error) {
	v, n := binary.Varint(d.rest)
	if n <= 0 {
		return 0, fmt.Errorf("%w: number cut short or too long", ErrCodec)
	}
	d.rest = d.rest[n:]
	return v, nil
}
