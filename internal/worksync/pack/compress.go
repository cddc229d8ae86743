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
}

// A Gauge watches the link, and tells whether compressing pays: when blocks
// wait for the link, and the link is slower than the processor compresses.
type Gauge struct {
	waiting atomic.Int64 // blocks that are made and not yet sent
	rate    atomic.Int64 // bytes a second while sending, smoothed; 0: not known
}

// worthwhile is the speed of a link, in bytes a second, below which
// compressing is worth the processor's time. The fastest level makes some
// 300 MB/s on one core and halves source code; encryption on the same core
// makes 350 MB/s, so above this speed both sides are busy enough.
const worthwhile = 100 << 20

// Compress tells what to do with the next block.
func (g *Gauge) Compress() bool {
	rate := g.rate.Load()
	return g.waiting.Load() > 1 && rate > 0 && rate < worthwhile
}

// Sent reports how long the link took for so many bytes.
func (g *Gauge) Sent(bytes int, took time.Duration) {
	if bytes < 64<<10 {
		return // says more about latency than about speed
	}
	now := int64(float64(bytes) / max(took.Seconds(), 1e-6))
	if old := g.rate.Load(); old > 0 {
		now = (3*old + now) / 4
	}
	g.rate.Store(now)
}

// encoders are kept for reuse because each holds some hundred kilobytes of tables.
var encoders = sync.Pool{New: func() any {
	// The options are constants and valid, so there is no error.
	e, _ := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1), zstd.WithEncoderCRC(false), zstd.WithWindowSize(BlockSize))
	return e
}}

// buffers holds those of blocks that were sent.
var buffers = sync.Pool{New: func() any { return make([]byte, 0, BlockSize) }}

// recycle keeps a block's buffer for another; nobody may use the block any more.
func recycle(b Block) {
	if cap(b.Bytes) >= BlockSize {
		buffers.Put(b.Bytes[:0]) //nolint:staticcheck // the slice header's allocation is small beside the block's
	}
}

// finish makes a block of raw bytes, compressed if that saves at least a
// sixteenth.
func finish(raw []byte, compress bool) Block {
	if !compress {
		return Block{Bytes: raw}
	}
	e := encoders.Get().(*zstd.Encoder)
	defer encoders.Put(e)
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
