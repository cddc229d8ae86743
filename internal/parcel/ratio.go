package parcel

import (
	"bufio"
	"encoding/binary"
	"io"

	"github.com/klauspost/compress/zstd"

	"outrigger.dev/outrigger/internal/fault"
)

// What comes out of a stream is bounded by what came: else a megabyte would fill any disk. Content that is more alike
// than that, such as a disk image that is mostly empty, is sent with filling.
const (
	maxWindow = 8 << 20  // that a stream may make its receiver hold
	maxRatio  = 1000     // that much may come out of one byte
	freeBytes = 64 << 20 // and that much in any case
)

// measured reads what comes out of in, as far as it may be that much.
type measured struct {
	from io.Reader
	in   *frameReader
	out  int64
}

func (m *measured) Read(b []byte) (int, error) {
	n, err := m.from.Read(b)
	m.out += int64(n)
	if m.out > freeBytes+maxRatio*m.in.got {
		return 0, fault.New(fault.Protocol, "copy: more than %d bytes came out of %d", m.out-1, m.in.got)
	}
	return n, err
}

// A squeezer compresses, and fills where so little is sent that the receiver would refuse what comes out of it. The
// filling is in frames that a decoder skips (RFC 8878, 3.1.2).
type squeezer struct {
	zw   *zstd.Encoder
	buf  *bufio.Writer
	in   int64 // since the last look
	sent int64 // of the compressed content since then
}

const (
	fillEvery  = 16 << 20 // bytes of content between two looks; less than freeBytes
	fillTo     = 500      // content is at most so many times what is sent for it; half of maxRatio
	skippable  = 0x184D2A50
	skipHeader = 8 // its magic number and length
)

func newSqueezer(buf *bufio.Writer) (*squeezer, error) {
	s := &squeezer{buf: buf}
	zw, err := zstd.NewWriter(compressed{s}, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1))
	if err != nil {
		return nil, fault.New(fault.Internal, "copy: %w", err)
	}
	s.zw = zw
	return s, nil
}

// compressed counts what the encoder has made.
type compressed struct{ s *squeezer }

func (c compressed) Write(b []byte) (int, error) {
	c.s.sent += int64(len(b))
	return c.s.buf.Write(b)
}

func (s *squeezer) Write(b []byte) (written int, err error) {
	for len(b) > 0 && err == nil {
		n := min(len(b), int(fillEvery-s.in))
		n, err = s.zw.Write(b[:n])
		b, written, s.in = b[n:], written+n, s.in+int64(n)
		if err == nil && s.in == fillEvery {
			err = s.fill()
		}
	}
	return written, err
}

// fill makes up for what compressed too well. Only between two frames of content may another one be.
func (s *squeezer) fill() error {
	if s.sent < s.in/fillTo {
		if err := s.zw.Close(); err != nil {
			return err
		}
		if want := s.in/fillTo - s.sent - skipHeader; want > 0 {
			var head [skipHeader]byte
			binary.LittleEndian.PutUint32(head[:4], skippable)
			binary.LittleEndian.PutUint32(head[4:], uint32(want))
			if _, err := s.buf.Write(append(head[:], make([]byte, want)...)); err != nil {
				return err
			}
		}
		s.zw.Reset(compressed{s})
	}
	s.in, s.sent = 0, 0
	return nil
}

func (s *squeezer) close() error { return s.zw.Close() }
