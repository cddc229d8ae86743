package term

import (
	"context"
	"io"
	"os"
	"time"

	"golang.org/x/sys/windows"
)

// rawOutput lets the console obey escape sequences, which a program on the
// machine writes.
func rawOutput(out io.Writer) (undo func()) {
	f, ok := out.(*os.File)
	if !ok {
		return func() {}
	}
	h := windows.Handle(f.Fd())
	var mode uint32
	if windows.GetConsoleMode(h, &mode) != nil {
		return func() {} // not a console
	}
	const want = windows.ENABLE_VIRTUAL_TERMINAL_PROCESSING | windows.DISABLE_NEWLINE_AUTO_RETURN
	if windows.SetConsoleMode(h, mode|want) != nil {
		return func() {} // an old console: shows the sequences, is otherwise of use
	}
	return func() { _ = windows.SetConsoleMode(h, mode) } // nothing to be done about a console that went away
}

// InForeground tells whether standard input is a console: Windows has no jobs in the background.
func (t *IO) InForeground() bool { return isTerminal(t.In) }

// sizePoll is how often the size is looked at: Windows has no signal for it,
// and reading it as an input event would steal key presses.
const sizePoll = 250 * time.Millisecond

// FollowSize calls changed with the window's size at once and after each
// change, until ctx ends. Without a terminal it only waits.
func (t *IO) FollowSize(ctx context.Context, changed func(Size)) {
	tick := time.NewTicker(sizePoll)
	defer tick.Stop()
	var last Size
	for {
		if size, ok := t.Size(); ok && size != last {
			last = size
			changed(size)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}
