package pack

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/klauspost/compress/zstd"

	"outrigger.dev/outrigger/internal/worksync/tree"
)

// A Block is ready to be sent.
type Block struct {
	Bytes      []byte
	Compressed bool
	Content    int64 // bytes of files in it, before compression
}

// An Effort is how hard to compress.
type Effort byte

// The efforts.
const (
	Raw Effort = iota
	Fast
	Better
)

// A Gauge watches the link and the processor, and tells whether compressing
// pays. Both are measured by the clock, because both may be shared: a link that
// is slow because the processors at its ends are busy must not be given more
// of their work.
type Gauge struct {
	link  meter             // sending
	pack  [Better + 1]meter // compressing, by effort
	count atomic.Int64      // of decisions
}

// meter measures how long a byte takes, over the last blocks.
type meter struct {
	mu          sync.Mutex
	bytes, time float64 // fading sums
}

// fade is how much of the past still counts after another block. Sums of bytes
// and of time fade, not their quotient: what a buffer on the way swallows in
// no time must not pass for speed.
const fade = 0.9

func (m *meter) add(bytes int, took time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.bytes = fade*m.bytes + float64(bytes)
	m.time = fade*m.time + took.Seconds()
}

// perByte returns seconds, or unknown if nothing was measured yet.
func (m *meter) perByte(unknown float64) float64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.bytes == 0 {
		return unknown
	}
	return m.time / m.bytes
}

// Sent reports how long the link took for so many bytes.
func (g *Gauge) Sent(bytes int, took time.Duration) { g.link.add(bytes, took) }

// margin is how many times faster than the link compressing must be: it saves
// about half of the sending, and reading and encrypting want the processor too.
const margin = 2

// look is how often a block is compressed only to see what it would cost now.
const look = 16

// Effort tells what to do with the next block. Costs that were not measured
// yet are those of one idle core: 300 and 150 MB/s.
func (g *Gauge) Effort() Effort {
	link := g.link.perByte(0)
	fast := g.pack[Fast].perByte(1 / 300e6)
	switch {
	case link > margin*max(fast, g.pack[Better].perByte(1/150e6)):
		return Better
	case link > margin*fast:
		return Fast
	case link > margin/300e6 && g.count.Add(1)%look == 0:
		return Fast
	}
	return Raw
}

// encoders are kept for reuse because each holds some hundred kilobytes of
// tables; one pool for each effort but Raw.
var encoders = [...]sync.Pool{
	Fast:   {New: func() any { return newEncoder(zstd.SpeedFastest) }},
	Better: {New: func() any { return newEncoder(zstd.SpeedDefault) }},
}

func newEncoder(level zstd.EncoderLevel) *zstd.Encoder {
	// The options are constants and valid, so there is no error.
	e, _ := zstd.NewWriter(nil, zstd.WithEncoderLevel(level), zstd.WithEncoderConcurrency(1), zstd.WithEncoderCRC(false), zstd.WithWindowSize(BlockSize))
	return e
}

// buffers holds those of blocks that were sent.
var buffers = sync.Pool{New: func() any { return make([]byte, 0, BlockSize) }}

// recycle keeps a block's buffer for another; nobody may use the block any more.
func recycle(b Block) {
	if cap(b.Bytes) >= BlockSize {
		buffers.Put(b.Bytes[:0]) //nolint:staticcheck // the slice header's allocation is small beside the block's
	}
}

// finish makes a block of raw bytes, compressed if that pays and saves at least
// a sixteenth.
func (g *Gauge) finish(raw []byte) Block {
	effort := g.Effort()
	if effort == Raw {
		return Block{Bytes: raw}
	}
	start := time.Now()
	b := squeeze(raw, effort)
	g.pack[effort].add(len(raw), time.Since(start))
	return b
}

func squeeze(raw []byte, effort Effort) Block {
	e := encoders[effort].Get().(*zstd.Encoder)
	defer encoders[effort].Put(e)
	small := e.EncodeAll(raw, make([]byte, 0, len(raw)/2))
	if len(small) > len(raw)-len(raw)/16 {
		return Block{Bytes: raw}
	}
	recycle(Block{Bytes: raw})
	return Block{Bytes: small, Compressed: true}
}

// An Opener decompresses blocks.
type Opener struct{ dec *zstd.Decoder }

// NewOpener returns one; Close frees it.
func NewOpener() (*Opener, error) {
	dec, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(BlockSize), zstd.WithDecoderLowmem(true))
	if err != nil {
		return nil, fmt.Errorf("pack: %w", err)
	}
	return &Opener{dec}, nil
}

// Open returns the raw bytes of a compressed block, at most [BlockSize].
func (o *Opener) Open(b []byte) ([]byte, error) {
	raw, err := o.dec.DecodeAll(b, nil)
	if err != nil {
		return nil, fmt.Errorf("%w: compressed block: %w", tree.ErrCodec, err)
	}
	return raw, nil
}

// Close frees what the opener holds.
func (o *Opener) Close() { o.dec.Close() }
