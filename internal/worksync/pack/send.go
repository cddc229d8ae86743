package pack

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/zeebo/blake3"
	"golang.org/x/sync/errgroup"

	"outrigger.dev/outrigger/internal/worksync/tree"
)

// An Item is a step to be packed. Node is what this side has, for Write; its
// stamp tells whether the file changed since it was scanned.
type Item struct {
	Kind    Kind // Delete, Aside, Make, Meta, Write, Agree or Forget
	Settles bool
	Node    tree.Node
	Why     string // of Aside
	// Err is why a file was not read, in what Packer.Read is told: the others go on.
	Err error
}

// A Packer packs items.
type Packer struct {
	Root    *tree.Folder
	Readers int // goroutines that read and compress
	Gauge   *Gauge
	// Read is told of each file when it has been read, its entry with digest and
	// its stamp, or could not be. Called from one goroutine at a time.
	Read func(item Item)
	// Sent is told how many bytes of files have left; may be nil.
	Sent func(content int64)
}

// batch is the unit of reading: the items of about one block, or one large file.
type batch struct {
	items  []Item
	big    bool
	blocks chan Block
	read   []Item
	err    error // valid when blocks is closed
}

// batchSize is how much of content makes a batch. A batch that turns out
// larger than a block, because a file grew, becomes two blocks.
const batchSize = BlockSize - 64<<10

// Pack reads items until next says that there are no more, and hands blocks to
// send in order.
func (p Packer) Pack(ctx context.Context, next func(context.Context) (Item, bool, error), send func(Block) error) error {
	g, ctx := errgroup.WithContext(ctx)
	work := make(chan *batch)
	ordered := make(chan *batch, p.Readers)
	g.Go(func() error {
		defer close(work)
		defer close(ordered)
		return p.gather(ctx, next, ordered, work)
	})
	for range p.Readers {
		g.Go(func() error { return p.reader(ctx, work) })
	}
	g.Go(func() error { return p.deliver(ctx, ordered, send) })
	return g.Wait()
}

// gather makes batches and puts each into both queues.
func (p Packer) gather(ctx context.Context, next func(context.Context) (Item, bool, error), ordered, work chan<- *batch) error {
	var items []Item
	size := 0
	flush := func(big bool) error {
		if len(items) == 0 {
			return nil
		}
		b := &batch{items: items, big: big, blocks: make(chan Block, 2)}
		items, size = nil, 0
		for _, queue := range []chan<- *batch{ordered, work} {
			select {
			case queue <- b:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		return nil
	}
	for {
		it, ok, err := next(ctx)
		if err != nil {
			return err
		}
		if !ok {
			return flush(false)
		}
		big := it.Kind == Write && it.Node.Size > maxInline
		cost := len(it.Node.Path) + 64
		if it.Kind == Write {
			cost += int(min(it.Node.Size, maxInline))
		}
		if big || size+cost > batchSize {
			if err := flush(false); err != nil {
				return err
			}
		}
		items = append(items, it)
		size += cost
		if big {
			if err := flush(true); err != nil {
				return err
			}
		}
	}
}

// deliver sends the blocks of one batch after the other.
func (p Packer) deliver(ctx context.Context, ordered <-chan *batch, send func(Block) error) error {
	for b := range ordered {
		for open := true; open; {
			var block Block
			select {
			case block, open = <-b.blocks:
			case <-ctx.Done():
				return ctx.Err()
			}
			if !open {
				break
			}
			start := time.Now()
			if err := send(block); err != nil {
				return err
			}
			p.Gauge.Sent(len(block.Bytes), time.Since(start))
			recycle(block)
			if p.Sent != nil {
				p.Sent(block.Content)
			}
		}
		if b.err != nil {
			return b.err
		}
		for _, it := range b.read {
			p.Read(it)
		}
	}
	return nil
}

func (p Packer) reader(ctx context.Context, work <-chan *batch) error {
	r := &reader{Packer: p, cursor: tree.NewCursor(p.Root)}
	defer r.cursor.Close()
	for b := range work {
		r.batch, r.w = b, writer{}
		err := r.run(ctx)
		if err == nil {
			err = r.flush(ctx)
		}
		// deliver returns the error when it comes to this batch, so that what
		// was read before it still leaves and the first error in order counts.
		b.err = err
		close(b.blocks)
	}
	return nil
}

// reader turns batches into blocks.
type reader struct {
	Packer
	cursor *tree.Cursor
	batch  *batch
	w      writer
	space  []byte
}

func (r *reader) run(ctx context.Context) error {
	for i := range r.batch.items {
		it := &r.batch.items[i]
		if err := ctx.Err(); err != nil {
			return err
		}
		switch it.Kind {
		case Write:
			read := r.small
			if r.batch.big {
				read = r.big
			}
			if err := r.skip(ctx, it, read(ctx, it)); err != nil {
				return err
			}
		default:
			if err := r.put(ctx, &Record{Kind: it.Kind, Settles: it.Settles, Path: it.Node.Path, Entry: it.Node.Entry, Why: it.Why}); err != nil {
				return err
			}
		}
	}
	return nil
}

// skip says that a file is not coming, if it is the file that is to blame.
func (r *reader) skip(ctx context.Context, it *Item, err error) error {
	if err == nil || !tree.Local(err) {
		return err
	}
	it.Err = err
	r.batch.read = append(r.batch.read, *it)
	rec := Record{Kind: Skip, Path: it.Node.Path}
	if !tree.Vanished(err) {
		rec.Why = tree.Reason(err)
	}
	return r.put(ctx, &rec)
}

func (r *reader) put(ctx context.Context, rec *Record) error {
	if len(rec.Content) > r.w.room() {
		if err := r.flush(ctx); err != nil {
			return err
		}
	}
	if r.w.buf == nil {
		r.w.buf = buffers.Get().([]byte)
	}
	r.w.put(rec)
	if r.w.room() <= 0 {
		return r.flush(ctx)
	}
	return nil
}

func (r *reader) flush(ctx context.Context) error {
	if len(r.w.buf) == 0 {
		return nil
	}
	block := r.Gauge.finish(r.w.buf)
	block.Content = r.w.content
	r.w = writer{}
	select {
	case r.batch.blocks <- block:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// errGrew is a small file that became a large one since the scan.
var errGrew = errors.New("file grew")

func (r *reader) small(ctx context.Context, it *Item) error {
	at, err := r.cursor.Folder(tree.Parent(it.Node.Path))
	if err != nil {
		return err
	}
	stamp, err := tree.Read(at, &it.Node, func(body io.Reader) error {
		if it.Node.Size > maxInline {
			return errGrew
		}
		if int64(cap(r.space)) < it.Node.Size {
			r.space = make([]byte, maxInline)
		}
		r.space = r.space[:it.Node.Size]
		_, err := io.ReadFull(body, r.space)
		return err
	})
	if errors.Is(err, errGrew) {
		return r.big(ctx, it)
	}
	if err != nil {
		return err
	}
	it.Node.Stamp = stamp
	it.Node.Digest = blake3.Sum256(r.space)
	r.batch.read = append(r.batch.read, *it)
	return r.put(ctx, &Record{Kind: Write, Settles: it.Settles, Entry: it.Node.Entry, Content: r.space})
}

// pieceSize fills a block but for the record's head.
const pieceSize = BlockSize - 2*overhead

func (r *reader) big(ctx context.Context, it *Item) error {
	at, err := r.cursor.Folder(tree.Parent(it.Node.Path))
	if err != nil {
		return err
	}
	if cap(r.space) < pieceSize {
		r.space = make([]byte, pieceSize)
	}
	h := blake3.New()
	began := false
	stamp, err := tree.Read(at, &it.Node, func(body io.Reader) error {
		if began {
			if err := r.put(ctx, &Record{Kind: Drop}); err != nil {
				return err
			}
		}
		began = true
		h.Reset()
		begin := it.Node.Entry
		begin.Digest = tree.Digest{}
		if err := r.put(ctx, &Record{Kind: Begin, Entry: begin}); err != nil {
			return err
		}
		return r.pieces(ctx, body, h)
	})
	if err != nil {
		if began {
			return errors.Join(r.put(ctx, &Record{Kind: Drop}), err)
		}
		return err
	}
	it.Node.Stamp = stamp
	h.Sum(it.Node.Digest[:0])
	r.batch.read = append(r.batch.read, *it)
	return r.put(ctx, &Record{Kind: End, Settles: it.Settles, Entry: it.Node.Entry})
}

func (r *reader) pieces(ctx context.Context, body io.Reader, h *blake3.Hasher) error {
	for {
		n, err := io.ReadFull(body, r.space[:pieceSize])
		if n > 0 {
			_, _ = h.Write(r.space[:n]) // a hash never fails
			if err := r.put(ctx, &Record{Kind: Piece, Content: r.space[:n]}); err != nil {
				return err
			}
		}
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			return nil
		case err != nil:
			return err
		}
	}
}
