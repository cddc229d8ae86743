//go:build unix

package term

import (
	"context"
	"io"
	"os"
	"os/signal"

	"golang.org/x/sys/unix"
)

// rawOutput has nothing to do: on Unix one terminal has one mode.
func rawOutput(io.Writer) (undo func()) { return func() {} }

// InForeground tells whether reading the terminal that standard input is would not stop us, as it
// does a job in the background.
func (t *IO) InForeground() bool {
	f, ok := t.In.(*os.File)
	if !ok || !isTerminal(f) {
		return false
	}
	group, err := unix.IoctlGetInt(int(f.Fd()), unix.TIOCGPGRP)
	return err == nil && group == unix.Getpgrp()
}

// FollowSize calls changed with the window's size at once and after each
// change, until ctx ends. Without a terminal it only waits.
func (t *IO) FollowSize(ctx context.Context, changed func(Size)) {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, unix.SIGWINCH)
	defer signal.Stop(signals)
	for {
		if size, ok := t.Size(); ok {
			changed(size)
		}
		select {
		case <-ctx.Done():
			return
		case <-signals:
		}
	}
}
