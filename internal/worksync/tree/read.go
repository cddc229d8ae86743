package tree

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/zeebo/blake3"
	"golang.org/x/sync/errgroup"
)

// ErrChanged is a file that did not hold still while it was read, or that is
// no longer what the scan saw.
var ErrChanged = errors.New("changed while it was read")

// readTries is how often a file that changes while it is read is read
// before we give up; a writer that saves once is over by the second try. From
// that on, one that only grew is taken as it was when it was opened.
const readTries = 4

// Sum computes the digests of the nodes at the given places, which must be
// files, reading with several goroutines. A file that has changed since the
// scan gets the entry and stamp of what was read; one that cannot be read is
// Closed afterwards, and one that is not there any more is Gone.
func Sum(ctx context.Context, root *Folder, nodes []Node, places []int, readers int) error {
	g, ctx := errgroup.WithContext(ctx)
	next := make(chan int)
	g.Go(func() error {
		defer close(next)
		for _, i := range places {
			select {
			case next <- i:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		return nil
	})
	for range min(readers, max(len(places), 1)) {
		g.Go(func() error {
			cursor := NewCursor(root)
			defer cursor.Close()
			buf := make([]byte, 128<<10)
			for i := range next {
				err := sum(ctx, cursor, &nodes[i], buf)
				switch {
				case Vanished(err):
					nodes[i].Gone = true
				case err != nil && !Local(err):
					return err
				case err != nil:
					nodes[i].Closed = Reason(err)
				}
			}
			return nil
		})
	}
	return g.Wait()
}

func sum(ctx context.Context, cursor *Cursor, n *Node, buf []byte) error {
	at, err := cursor.Folder(Parent(n.Path))
	if err != nil {
		return err
	}
	h := blake3.New()
	stamp, err := Read(at, n, func(r io.Reader) error {
		h.Reset()
		for {
			if err := ctx.Err(); err != nil {
				return err
			}
			k, err := r.Read(buf)
			_, _ = h.Write(buf[:k]) // a hash never fails
			if err == io.EOF {
				return nil
			}
			if err != nil {
				return err
			}
		}
	})
	if err != nil {
		return err
	}
	n.Stamp = stamp
	h.Sum(n.Digest[:0])
	return nil
}

// Read hands the content of a file to use and makes sure that what was handed
// over is one state of the file: if it changes meanwhile, use is called again
// with the content from the start. What was there when a file was opened that
// only ever grows, such as a log, is one state of it. The node's size and times
// follow what was read.
func Read(at *Folder, n *Node, use func(io.Reader) error) (Stamp, error) {
	for try := range readTries {
		stamp, ok, err := readOnce(at, n, use, try > 0)
		if err != nil || ok {
			return stamp, err
		}
	}
	return Stamp{}, at.errorAt("read", Name(n.Path), ErrChanged)
}

func readOnce(at *Folder, n *Node, use func(io.Reader) error, mayGrow bool) (stamp Stamp, still bool, err error) {
	name := Name(n.Path)
	f, fi, err := at.openFile(name, n.Stamp.Inode)
	if err != nil {
		return stamp, false, err
	}
	defer f.Close()
	before := StampOf(fi, time.Now())
	if !before.SameFile(n.Stamp) {
		n.Follow(before, modeOf(fi))
	}
	body := &exactly{r: f, left: before.Size}
	seen := blake3.New()
	var from io.Reader = body
	if mayGrow {
		from = io.TeeReader(body, seen)
	}
	if err := use(from); err != nil {
		if errors.Is(err, errShort) {
			return stamp, false, nil
		}
		return stamp, false, at.At("read", name, err)
	}
	fi, err = f.Stat()
	if err != nil {
		return stamp, false, at.errorAt("read", name, err)
	}
	after := StampOf(fi, time.Now())
	if after.SameFile(before) {
		return after, body.left == 0, nil
	}
	if !mayGrow || body.left > 0 || after.Size <= before.Size || after.Mode != before.Mode {
		return stamp, false, nil
	}
	still, err = beginsWith(f, before.Size, seen.Sum(nil))
	before.Racy = true // it goes on changing
	return before, still, at.At("read", name, err)
}

// beginsWith tells whether the first size bytes of a file still are what they were.
func beginsWith(f io.ReaderAt, size int64, sum []byte) (bool, error) {
	again := blake3.New()
	n, err := io.Copy(again, io.NewSectionReader(f, 0, size))
	return n == size && bytes.Equal(again.Sum(nil), sum), err
}

// Follow takes over what a new stat says of a file that changed since its scan.
func (n *Node) Follow(stamp Stamp, mode uint32) {
	if stamp.Mode != n.Stamp.Mode {
		n.Mode = mode
	}
	if stamp.MTime != n.Stamp.MTime {
		n.MTime = stamp.MTime
	}
	n.Size, n.Stamp, n.Digest = stamp.Size, stamp, Digest{}
}

// exactly reads as many bytes as the file had when it was opened; what is
// appended meanwhile is the change that Read looks for.
type exactly struct {
	r    io.Reader
	left int64
}

func (e *exactly) Read(p []byte) (int, error) {
	if e.left == 0 {
		return 0, io.EOF
	}
	if int64(len(p)) > e.left {
		p = p[:e.left]
	}
	k, err := e.r.Read(p)
	e.left -= int64(k)
	if err == io.EOF && e.left > 0 {
		return k, fmt.Errorf("%d bytes missing: %w", e.left, errShort)
	}
	return k, err
}

var errShort = errors.New("file became shorter")
