package transfer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/sanitize"
	"outrigger.dev/outrigger/internal/wire"
	"outrigger.dev/outrigger/internal/worksync/pack"
	"outrigger.dev/outrigger/internal/worksync/tree"
)

// link is a connection with what a sync does on it.
type link struct {
	conn           *wire.Conn
	sent, received atomic.Int64 // bytes of payload
}

func (l *link) recv() (wire.Frame, error) {
	f, err := l.conn.Recv()
	if err != nil {
		return f, broken(err)
	}
	l.received.Add(int64(len(f.Payload)))
	return f, nil
}

// recvAs reads a message of the wanted type.
func (l *link) recvAs(t wire.Type, what string, v any) error {
	f, err := l.recv()
	if err != nil {
		return err
	}
	if f.Type != t {
		return unexpected(what, byte(f.Type))
	}
	return decode(f, what, v)
}

func decode(f wire.Frame, what string, v any) error {
	if err := f.Decode(v); err != nil {
		return fault.New(fault.Protocol, "sync: decode %s: %w", what, err)
	}
	return nil
}

func (l *link) send(t wire.Type, v any) error {
	b, err := wire.Marshal(v)
	if err != nil {
		return fmt.Errorf("sync: encode %T: %w", v, err)
	}
	return l.sendBytes(t, b)
}

func (l *link) sendBytes(t wire.Type, b []byte) error {
	if err := l.conn.SendBytes(t, b); err != nil {
		return broken(err)
	}
	l.sent.Add(int64(len(b)))
	return nil
}

func (l *link) sendBlock(b pack.Block) error {
	if b.Compressed {
		return l.sendBytes(typePacked, b.Bytes)
	}
	return l.sendBytes(typeBlock, b.Bytes)
}

// sendList sends a stream that nobody answers.
func (l *link) sendList(put func(*pack.Lister) error) error {
	lister := &pack.Lister{Send: l.sendBlock}
	if err := put(lister); err != nil {
		return err
	}
	if err := lister.Flush(); err != nil {
		return err
	}
	return l.send(typeEnd, end{})
}

// errAnswered stops the producer of a stream whose receiver has answered
// before the end.
var errAnswered = errors.New("sync: the other side has answered")

// sendStream sends what produce makes, then the end, and returns the answer.
// If produce fails the stream ends with its error as the reason, which is then
// returned, unless the other side had something to say before.
func (l *link) sendStream(ctx context.Context, commit []byte, words func(error) error, produce func(context.Context, func(pack.Block) error) error) (result, error) {
	var answer result
	making, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var group errgroup.Group
	group.Go(func() error {
		err := l.recvResult(&answer)
		stop(errAnswered)
		return err
	})
	err := words(produce(making, l.sendBlock))
	if err != nil && errors.Is(context.Cause(making), errAnswered) {
		// Whatever err was, it followed from the answer.
		if err := l.closeStream(&group, end{Fault: &wire.Fault{Kind: fault.Interrupted, Text: "sync: stopped"}}, &answer); err != nil {
			return answer, err
		}
		return answer, fault.New(fault.Protocol, "sync: answered before the end of the stream")
	}
	last := end{Commit: commit}
	if err != nil {
		last = end{Fault: wire.FaultOf(err)}
	}
	cerr := l.closeStream(&group, last, &answer)
	if err != nil {
		return answer, err
	}
	return answer, cerr
}

// closeStream sends the end and waits for the answer.
func (l *link) closeStream(group *errgroup.Group, last end, answer *result) error {
	serr := l.send(typeEnd, last)
	if err := group.Wait(); err != nil {
		return err
	}
	if answer.Fault != nil {
		return answer.Fault.Err()
	}
	return serr
}

// recvResult reads a result, which may come in parts.
func (l *link) recvResult(to *result) error {
	for text := 0; ; {
		var part result
		if err := l.recvAs(typeResult, "a result", &part); err != nil {
			return err
		}
		to.Fault = part.Fault
		to.Kept = append(to.Kept, part.Kept...)
		to.Undone = append(to.Undone, part.Undone...)
		to.Left = append(to.Left, part.Left...)
		for _, w := range part.Warnings {
			to.Warnings = append(to.Warnings, sanitize.Line(w, maxWarning))
			text += len(w)
		}
		for _, path := range append(part.Kept, part.Undone...) {
			text += len(path)
		}
		if text > maxListText || len(to.Kept)+len(to.Undone) > 2*tree.MaxEntries || len(to.Left) > maxLeft ||
			len(to.Warnings) > 2*maxWarnings {
			return fault.New(fault.Protocol, "sync: result of %d and %d paths, %d reasons and %d warnings",
				len(to.Kept), len(to.Undone), len(to.Left), len(to.Warnings))
		}
		if !part.More {
			return nil
		}
	}
}

// sendResult answers a stream.
func (l *link) sendResult(r result) error {
	for len(r.Kept)+len(r.Undone)+len(r.Left) > maxNames {
		part := result{More: true}
		part.Kept, r.Kept = cut(r.Kept, maxNames)
		part.Undone, r.Undone = cut(r.Undone, maxNames-len(part.Kept))
		part.Left, r.Left = cut(r.Left, maxNames-len(part.Kept)-len(part.Undone))
		if err := l.send(typeResult, part); err != nil {
			return err
		}
	}
	return l.send(typeResult, r)
}

// cut takes at most n off a list.
func cut[T any](list []T, n int) (head, rest []T) {
	n = min(n, len(list))
	return list[:n], list[n:]
}

// incoming is a block on its way from the connection to the handler; the last
// one carries the end.
type incoming struct {
	bytes  []byte
	packed bool
	end    *end
}

// queued is how many blocks may wait for the handler.
const queued = 4

// recvStream hands the records of a stream to handle, whose first error is
// passed to early, at once; then the rest of the stream is read and dropped, and
// that error comes back as failed. The content of a record is handle's to keep.
// err is a stream that broke off or made no sense.
func (l *link) recvStream(ctx context.Context, first *wire.Frame, handle func(pack.Record) error, early func(error) error) (last end, failed, err error) {
	return l.recvBlocks(ctx, first, (*pack.Opener).Open, handle, early)
}

func (l *link) recvBlocks(ctx context.Context, first *wire.Frame, open func(*pack.Opener, []byte) ([]byte, error), handle func(pack.Record) error, early func(error) error) (last end, failed, err error) {
	opener, err := pack.NewOpener()
	if err != nil {
		return last, nil, err
	}
	defer opener.Close()
	group, ctx := errgroup.WithContext(ctx)
	blocks := make(chan incoming, queued)
	group.Go(func() error {
		defer close(blocks)
		return l.readStream(ctx, first, blocks)
	})
	group.Go(func() error {
		for in := range blocks {
			if in.end != nil {
				last = *in.end
			}
			if failed != nil || in.end != nil {
				continue
			}
			if failed = unpack(func(b []byte) ([]byte, error) { return open(opener, b) }, in, handle); failed != nil {
				if err := early(failed); err != nil {
					return err
				}
			}
		}
		return nil
	})
	err = group.Wait()
	return last, failed, err
}

// readStream reads blocks until the end. It copies them, because a frame is
// only lent and files are written while the next frames come in.
func (l *link) readStream(ctx context.Context, first *wire.Frame, to chan<- incoming) error {
	for {
		var f wire.Frame
		var err error
		if first != nil {
			f, first = *first, nil
		} else if f, err = l.recv(); err != nil {
			return err
		}
		var in incoming
		switch f.Type {
		case typeBlock, typePacked:
			in = incoming{bytes: bytes.Clone(f.Payload), packed: f.Type == typePacked}
		case typeEnd:
			in.end = new(end)
			if err := decode(f, "the end of a stream", in.end); err != nil {
				return err
			}
		default:
			return unexpected("a block", byte(f.Type))
		}
		select {
		case to <- in:
		case <-ctx.Done():
			return ctx.Err()
		}
		if in.end != nil {
			return nil
		}
	}
}

func unpack(open func([]byte) ([]byte, error), in incoming, handle func(pack.Record) error) error {
	raw := in.bytes
	if in.packed {
		var err error
		if raw, err = open(raw); err != nil {
			return err
		}
	}
	r := pack.NewReader(raw)
	for r.More() {
		rec, err := r.Next()
		if err != nil {
			return err
		}
		if err := handle(rec); err != nil {
			return err
		}
	}
	return nil
}
