//go:build unix

package scenario

import (
	"bytes"
	"io"
	"strconv"
	"syscall"
	"time"

	"github.com/creack/pty"
	"github.com/rogpeppe/go-internal/testscript"
)

// terminal starts a line of the shell on a terminal of its own, of 80 columns and 24 rows. What it shows
// there is its standard output.
func terminal(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, neg, len(args) == 2, "terminal NAME LINE")
	p := newProcess(ts, args[0], []string{"sh", "-c", args[1]})
	keyboard, tty, err := pty.Open()
	ts.Check(err)
	defer tty.Close()
	ts.Check(pty.Setsize(tty, &pty.Winsize{Cols: 80, Rows: 24}))
	p.keyboard = keyboard
	p.cmd.Stdin, p.cmd.Stdout, p.cmd.Stderr = tty, tty, tty
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	ts.Check(p.cmd.Start())
	shown := make(chan struct{})
	go func() {
		defer close(shown)
		_, _ = io.Copy(withoutReturns{&p.stdout}, keyboard) // it ends with an error when nobody has the terminal any more
	}()
	go func() {
		p.err = p.cmd.Wait()
		select {
		case <-shown:
		case <-time.After(patience): // something keeps the terminal, which is found in the end
		}
		keyboard.Close()
		<-shown
		close(p.done)
	}()
}

// withoutReturns takes out what a terminal puts before each end of a line.
type withoutReturns struct{ to io.Writer }

func (w withoutReturns) Write(b []byte) (int, error) {
	if _, err := w.to.Write(bytes.ReplaceAll(b, []byte("\r"), nil)); err != nil {
		return 0, err
	}
	return len(b), nil
}

// typeKeys types on a terminal. Keys are written as in Go: \n, \x03.
func typeKeys(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, neg, len(args) == 2, "type NAME KEYS")
	keys, err := strconv.Unquote(`"` + args[1] + `"`)
	ts.Check(err)
	p := named(ts, args[0])
	if p.keyboard == nil {
		ts.Fatalf("%s is not on a terminal", args[0])
	}
	_, err = p.keyboard.WriteString(keys)
	ts.Check(err)
}
