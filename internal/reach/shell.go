package reach

import (
	"bytes"
	"context"
	"errors"
	"io"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"

	"outrigger.dev/outrigger/internal/fault"
)

// A Window is a terminal's size in characters.
type Window struct{ Width, Height int }

// A ShellSpec says what [Client.Shell] runs and joins.
type ShellSpec struct {
	Command string    // "": the user's login shell
	Stdin   io.Reader // nil: empty
	Stdout  io.Writer // nil: thrown away
	Stderr  io.Writer // nil: thrown away; a terminal has no stderr of its own
	Term    string    // value of TERM; "": no terminal
	Window  Window    // the first size
	Resized <-chan Window
	Env     map[string]string // what the server accepts of it
}

// Shell runs a shell or a command with these streams until it ends and returns
// its exit code, 128+N for signal N. ctx ends it. A Read of spec.Stdin that is blocked
// then stays so until it returns: a terminal cannot be told to stop.
func (c *Client) Shell(ctx context.Context, spec ShellSpec) (exit int, err error) {
	ch, reqs, err := c.openChannel(ctx, "session")
	if err != nil {
		return 0, err
	}
	defer ch.Close()
	// Told first, and cut off a little later: a command whose streams are closed
	// while it cleans up dies of a broken pipe. Not every server passes signals on.
	stop := context.AfterFunc(ctx, func() {
		_, _ = ch.SendRequest("signal", false, ssh.Marshal(struct{ Name string }{"TERM"}))
	})
	defer stop()
	end := newEnding()
	go end.watch(reqs)

	var out sync.WaitGroup
	stdout, stderr := &gate{w: spec.Stdout}, &gate{w: spec.Stderr}
	defer stdout.shut()
	defer stderr.shut()
	out.Go(func() { stdout.drain(ch) })
	out.Go(func() { stderr.drain(ch.Stderr()) })
	if err := c.until(ctx, func() error { return c.begin(ch, spec) }); err != nil {
		return 0, err
	}
	if spec.Stdin == nil {
		spec.Stdin = bytes.NewReader(nil)
	}
	go func() {
		_, _ = io.Copy(ch, spec.Stdin) // a command may end without reading all of it
		_ = ch.CloseWrite()
	}()
	over := make(chan struct{})
	go func() {
		out.Wait()
		<-end.known
		close(over)
	}()
	var tooLong <-chan time.Time
	cancelled := ctx.Done()
	for {
		select {
		case <-cancelled:
			cancelled, tooLong = nil, time.After(closeGrace)
		case <-tooLong:
			return c.result(ctx, end, nil)
		case w, ok := <-spec.Resized:
			if !ok {
				spec.Resized = nil
				continue
			}
			// A lost resize is mended by the next one.
			_, _ = ch.SendRequest("window-change", false, ssh.Marshal(windowMsg{Width: uint32(w.Width), Height: uint32(w.Height)}))
		case <-over:
			return c.result(ctx, end, errors.Join(stdout.broke(), stderr.broke()))
		}
	}
}

// closeGrace is how long a command may take to end once it was told to. What
// still reads from it after that does so until the machine confirms the close.
const closeGrace = 2 * time.Second

// begin asks for a terminal, the environment and the command.
func (c *Client) begin(ch ssh.Channel, spec ShellSpec) error {
	if spec.Term != "" {
		err := c.request(ch, "pty-req", ssh.Marshal(ptyMsg{
			Term:  spec.Term,
			Width: uint32(spec.Window.Width), Height: uint32(spec.Window.Height),
			Modes: "\x00", // none: the machine's own defaults are those of a fresh terminal
		}))
		if err != nil {
			return err
		}
	}
	for name, value := range spec.Env {
		if _, err := ch.SendRequest("env", false, ssh.Marshal(envMsg{name, value})); err != nil {
			return fault.New(fault.Unreachable, "%s: no env: %w", c.Where(), c.explain(err))
		}
	}
	if spec.Command == "" {
		return c.request(ch, "shell", nil)
	}
	return c.request(ch, "exec", ssh.Marshal(execMsg{spec.Command}))
}

// result says how a command ended whose streams were copied with this error.
func (c *Client) result(ctx context.Context, end *ending, copied error) (int, error) {
	switch {
	case ctx.Err() != nil:
		return 0, c.gaveUp(ctx)
	case end.code() == exitUnknown && c.gone():
		return 0, c.Err()
	case copied != nil:
		return 0, fault.New(fault.LocalFile, "output of the machine: %w", copied)
	case end.code() == exitUnknown:
		return 0, fault.New(fault.Unreachable, "%s: the machine closed the session without an exit code", c.Where())
	}
	return end.code(), nil
}

// A gate passes what the machine sends to a writer until it is shut: after
// Shell has returned, its caller's writers are its caller's.
type gate struct {
	mu  sync.Mutex
	w   io.Writer // nil: thrown away
	err error     // of the first write that failed
}

// drain copies to the end. It reads on after the writer breaks: the channel
// must be emptied for the command to end.
func (g *gate) drain(r io.Reader) { _, _ = io.Copy(g, r) }

// Write implements [io.Writer] and never fails.
func (g *gate) Write(b []byte) (int, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.w != nil && g.err == nil {
		_, g.err = g.w.Write(b)
	}
	return len(b), nil
}

// shut ends the writing.
func (g *gate) shut() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.w = nil
}

// broke returns what went wrong with the writing.
func (g *gate) broke() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.err
}

// MaxOutput bounds what [Client.Output] returns.
const MaxOutput = 1 << 20

// Output runs command to its end with stdin (nil: empty) and returns the
// first [MaxOutput] bytes of its stdout and its exit code. A command that exits with
// another code than 0 is no error. ctx ends it.
func (c *Client) Output(ctx context.Context, command string, stdin io.Reader) (stdout []byte, exit int, err error) {
	out := head{max: MaxOutput}
	exit, err = c.Shell(ctx, ShellSpec{Command: command, Stdin: stdin, Stdout: &out})
	return out.b, exit, err
}

// A head keeps the first max bytes that were written to it.
type head struct {
	max int
	b   []byte
}

func (h *head) Write(b []byte) (int, error) {
	h.b = append(h.b, b[:min(len(b), h.max-len(h.b))]...)
	return len(b), nil
}
