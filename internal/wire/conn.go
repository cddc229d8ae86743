// Package wire is the protocol between the client (the CLI or a relay) and the
// agent on the machine.
//
// A connection is a stream of frames: one byte of type, four bytes of length
// (big endian), the payload. Control payloads are CBOR (RFC 8949), because file
// names are bytes and not always UTF-8; bulk payloads are raw. Both sides send
// a [Hello] at once, without waiting, and the client sends its first [Request]
// behind it, so opening costs no round trip of its own. Requests on one
// connection follow one another; who wants two things at once opens two
// connections: SSH multiplexes, this package does not.
//
// Everything read from the other side is bounded before it is believed.
package wire

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/fxamacker/cbor/v2"
)

// MaxFrame is the largest payload, in bytes. It bounds what one frame can make
// the reader allocate; 1 MiB is far above what bulk data needs to be efficient.
const MaxFrame = 1 << 20

// bufSize is that of the read and write buffers; two SSH packets of 32 KiB.
const bufSize = 64 << 10

// A Type tells what a frame's payload is. Each exchange owns a range.
type Type byte

// Types of the frames that belong to no particular exchange.
const (
	TypeHello    Type = 1 // Hello
	TypeRequest  Type = 2 // Request
	TypeResponse Type = 3 // Response
	TypePing     Type = 4 // empty; answered by TypePong
	TypePong     Type = 5 // empty
	TypeAlive    Type = 6 // empty; the sender still works on what it was asked for. Recv passes over it

	TypeRunFirst  Type = 32 // 32–63 belong to runs
	TypeSyncFirst Type = 64 // 64–127 belong to package worksync/transfer
)

// A Frame is one frame as read. Payload is valid until the next Recv.
type Frame struct {
	Type    Type
	Payload []byte
}

var (
	encMode = must(cbor.CoreDetEncOptions().EncMode())
	decMode = decoder(1 << 17)
	// fewMode is for lists whose elements are much larger here than one byte, the
	// least that each takes on the wire.
	fewMode = decoder(maxFew)
)

// maxFew is how many leases or runs a list may have.
const maxFew = 4096

func decoder(elements int) cbor.DecMode {
	return must(cbor.DecOptions{
		MaxNestedLevels:  8,
		MaxArrayElements: elements,
		MaxMapPairs:      1 << 16,
		UTF8:             cbor.UTF8DecodeInvalid, // file names need not be UTF-8
	}.DecMode())
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err) // the options above are constants
	}
	return v
}

// Decode reads the payload's CBOR into v.
func (f Frame) Decode(v any) error { return Unmarshal(f.Payload, v) }

// Marshal and Unmarshal are the CBOR of this protocol, for what is stored or
// nested in it.
func Marshal(v any) ([]byte, error) { return encMode.Marshal(v) }

// Unmarshal refuses trailing bytes and what is nested or long beyond reason.
func Unmarshal(b []byte, v any) error { return decMode.Unmarshal(b, v) }

// ErrFrameTooLarge is a frame above [MaxFrame], sent or announced.
var ErrFrameTooLarge = errors.New("wire: frame larger than 1 MiB")

// A Conn reads and writes frames on a stream. One goroutine may read while
// others write.
type Conn struct {
	rwc io.ReadWriteCloser
	r   *bufio.Reader
	buf []byte

	expectHello bool // set by Greet: the first frame to read is the other side's Hello

	silence time.Duration // set by LimitSilence
	where   string

	mu sync.Mutex // guards w
	w  *bufio.Writer
}

// NewConn starts speaking frames on rwc, which Close closes.
func NewConn(rwc io.ReadWriteCloser) *Conn {
	c := &Conn{rwc: rwc, w: bufio.NewWriterSize(rwc, bufSize)}
	c.r = bufio.NewReaderSize(patient{c}, bufSize)
	return c
}

// Close closes the stream; a blocked Recv or Send returns with an error.
func (c *Conn) Close() error { return c.rwc.Close() }

// Recv reads the next frame. io.EOF means that the other side closed between frames.
func (c *Conn) Recv() (Frame, error) {
	if c.expectHello {
		if _, err := c.RecvHello(); err != nil {
			return Frame{}, err
		}
	}
	for {
		if f, err := c.next(); err != nil || f.Type != TypeAlive {
			return f, err
		}
	}
}

func (c *Conn) next() (Frame, error) {
	var head [5]byte
	if _, err := io.ReadFull(c.r, head[:]); err != nil {
		return Frame{}, err
	}
	n := int(binary.BigEndian.Uint32(head[1:]))
	if n > MaxFrame {
		return Frame{}, ErrFrameTooLarge
	}
	if cap(c.buf) < n {
		c.buf = make([]byte, max(n, 4096))
	}
	c.buf = c.buf[:n]
	if _, err := io.ReadFull(c.r, c.buf); err != nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return Frame{}, err
	}
	return Frame{Type(head[0]), c.buf}, nil
}

// Send writes v as CBOR in one frame and flushes.
func (c *Conn) Send(t Type, v any) error {
	b, err := Marshal(v)
	if err != nil {
		return fmt.Errorf("wire: encode %T: %w", v, err)
	}
	return c.SendBytes(t, b)
}

// SendBytes writes the parts as one frame's payload and flushes.
func (c *Conn) SendBytes(t Type, parts ...[]byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.put(t, parts); err != nil {
		return err
	}
	return c.w.Flush()
}

// Queue writes the parts as one frame's payload without flushing. What is
// queued leaves with the next Send, SendBytes or Flush, or when the buffer is full.
func (c *Conn) Queue(t Type, parts ...[]byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.put(t, parts)
}

// Flush sends what was queued.
func (c *Conn) Flush() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.w.Flush()
}

func (c *Conn) put(t Type, parts [][]byte) error {
	n := 0
	for _, p := range parts {
		n += len(p)
	}
	if n > MaxFrame {
		return ErrFrameTooLarge
	}
	var head [5]byte
	head[0] = byte(t)
	binary.BigEndian.PutUint32(head[1:], uint32(n))
	if _, err := c.w.Write(head[:]); err != nil {
		return err
	}
	for _, p := range parts {
		if _, err := c.w.Write(p); err != nil {
			return err
		}
	}
	return nil
}
