package term

import (
	"errors"
	"os"

	xterm "golang.org/x/term"
)

// A Size is that of a terminal's window, in characters.
type Size struct {
	Columns, Rows int
}

// ErrNoTerminal is returned by what needs a terminal and has none.
var ErrNoTerminal = errors.New("not a terminal")

// Size returns the window's size, false when no stream is a terminal.
func (t *IO) Size() (Size, bool) {
	for _, stream := range []any{t.Out, t.Err, t.In} {
		if !isTerminal(stream) {
			continue
		}
		if w, h, err := xterm.GetSize(int(stream.(*os.File).Fd())); err == nil {
			return Size{Columns: w, Rows: h}, true
		}
	}
	return Size{}, false
}

// Raw hands every key press to the program unchanged, interrupts included, until
// restore is called, which is safe to call twice.
func (t *IO) Raw() (restore func() error, err error) {
	f, ok := t.In.(*os.File)
	if !ok || !isTerminal(f) {
		return nil, ErrNoTerminal
	}
	state, err := xterm.MakeRaw(int(f.Fd()))
	if err != nil {
		return nil, err
	}
	undoOut := rawOutput(t.Out)
	done := false
	return func() error {
		if done {
			return nil
		}
		done = true
		undoOut()
		return xterm.Restore(int(f.Fd()), state)
	}, nil
}
