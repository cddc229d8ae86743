package podrelay

import (
	"context"
	"sync"

	"outrigger.dev/outrigger/internal/cli/term"
	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/wire"
)

// A terminal is that of the container or of somebody in a shell. The machine
// gives the command one of its own; this one only passes bytes through.
type terminal struct {
	size   *wire.WinSize
	resize chan wire.WinSize

	stop    context.CancelFunc
	wait    sync.WaitGroup
	restore func() error
}

// usual is the size of a terminal that nobody looks at yet.
var usual = wire.WinSize{Cols: 80, Rows: 24}

// open takes the terminal, and follows its size until close.
func (t *terminal) open(ctx context.Context, io *term.IO, typed bool) error {
	size := winSize(io)
	t.size, t.resize = &size, make(chan wire.WinSize)
	if typed && io.InIsTerminal() {
		restore, err := io.Raw()
		if err != nil {
			return fault.New(fault.LocalFile, "this terminal: %w", err)
		}
		t.restore = restore
	}
	ctx, t.stop = context.WithCancel(ctx)
	t.wait.Go(func() {
		io.FollowSize(ctx, func(s term.Size) {
			if s.Columns == 0 || s.Rows == 0 {
				return
			}
			select {
			case t.resize <- wire.WinSize{Cols: uint16(s.Columns), Rows: uint16(s.Rows)}:
			case <-ctx.Done():
			}
		})
	})
	return nil
}

func winSize(io *term.IO) wire.WinSize {
	s, ok := io.Size()
	if !ok || s.Columns == 0 || s.Rows == 0 {
		return usual
	}
	return wire.WinSize{Cols: uint16(s.Columns), Rows: uint16(s.Rows)}
}

// close gives the terminal back. It may be called on one that was never opened.
func (t *terminal) close() {
	if t.stop != nil {
		t.stop()
		t.wait.Wait()
	}
	if t.restore != nil {
		_ = t.restore() // the process ends now, and its terminal with it
	}
}
