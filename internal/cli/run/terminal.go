package run

import (
	"context"
	"errors"
	"sync"

	"outrigger.dev/outrigger/internal/cli/app"
	"outrigger.dev/outrigger/internal/cli/progress"
	"outrigger.dev/outrigger/internal/cli/term"
	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/runclient"
	"outrigger.dev/outrigger/internal/wire"
)

// A terminal is the command's ends on this side.
type terminal struct {
	streams runclient.Streams
	size    *wire.WinSize // nil: the command gets pipes
	errPipe bool          // with a terminal: standard error is a pipe of its own
	env     []string      // what the terminal says of itself

	io      *term.IO
	stop    context.CancelFunc
	wait    sync.WaitGroup
	restore func() error
	flush   []func() error
	err     error
}

// openTerminal decides what the command's streams are, as ssh would: a terminal if standard input
// and output are one, without standard error if that goes elsewhere; else pipes, into which lines are
// typed if somebody types. No stdin if the script came from it, or if the terminal is not ours to
// read, since we are in its background: a job there that reads, or sets its modes, would be stopped.
func openTerminal(ctx context.Context, a *app.App, p *prepared, show progress.Reporter) *terminal {
	ctx, stop := context.WithCancel(ctx)
	t := &terminal{io: a.IO, stop: stop, restore: func() error { return nil }}
	t.streams.Out, t.streams.Err = a.IO.Out, a.IO.Err
	ours := p.stdin && (!a.IO.InIsTerminal() || a.IO.InForeground())
	if ours {
		t.streams.In = a.IO.In
	}
	switch {
	case a.JSON():
		out, errs := progress.NewStream(show, "stdout"), progress.NewStream(show, "stderr")
		t.streams.Out, t.streams.Err = out, errs
		t.flush = append(t.flush, out.Close, errs.Close)
	case ours && a.IO.InIsTerminal() && a.IO.OutIsTerminal():
		size, ok := a.IO.Size()
		if !ok {
			break
		}
		t.errPipe = !a.IO.IsTerminal(a.IO.Err)
		if kind := a.IO.Getenv("TERM"); kind != "" {
			t.env = []string{"TERM=" + kind}
		}
		t.size = &wire.WinSize{Cols: uint16(size.Columns), Rows: uint16(size.Rows)}
		resize := make(chan wire.WinSize)
		t.streams.Resize = resize
		t.wait.Go(func() {
			a.IO.FollowSize(ctx, func(s term.Size) {
				select {
				case resize <- wire.WinSize{Cols: uint16(s.Columns), Rows: uint16(s.Rows)}:
				case <-ctx.Done():
				}
			})
		})
	}
	return t
}

// start is called when the command begins: from then on keys are its own.
func (t *terminal) start() {
	if t.size == nil {
		return
	}
	restore, err := t.io.Raw()
	if err != nil {
		t.err = fault.New(fault.LocalFile, "run: terminal: %w", err)
		return
	}
	t.restore = restore
}

// end gives the terminal back to the user.
func (t *terminal) end() { t.err = errors.Join(t.err, t.restore()) }

// close ends what follows the terminal, says what output is left, and tells
// what went wrong with the terminal since it was opened.
func (t *terminal) close() error {
	t.stop()
	t.wait.Wait()
	t.end()
	for _, f := range t.flush {
		t.err = errors.Join(t.err, f())
	}
	return t.err
}
