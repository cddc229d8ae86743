// Package qmp speaks to a QEMU process through its monitor socket: one command
// after the other, each with its answer.
package qmp

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"time"
)

// maxLine bounds one message of QEMU. The longest that we ask for is a console
// buffer of 64 KiB in base64.
const maxLine = 1 << 20

// An Error is QEMU's refusal of a command.
type Error struct {
	Command string
	Class   string `json:"class"`
	Text    string `json:"desc"`
}

// Error returns QEMU's own words.
func (e *Error) Error() string { return "qemu: " + e.Command + ": " + e.Text }

// A Conn is a monitor session. QEMU serves one session at a time, so it should
// be short.
type Conn struct {
	conn net.Conn
	in   *bufio.Reader
}

// Open greets QEMU over conn, which it then owns.
func Open(ctx context.Context, conn net.Conn) (*Conn, error) {
	c := &Conn{conn: conn, in: bufio.NewReaderSize(conn, 4096)}
	defer c.watch(ctx)()
	var hello struct {
		QMP *json.RawMessage
	}
	if err := c.read(&hello); err != nil || hello.QMP == nil {
		conn.Close()
		return nil, fmt.Errorf("qemu: no greeting on the monitor: %w", c.cause(ctx, err))
	}
	if err := c.Do(ctx, "qmp_capabilities", nil, nil); err != nil {
		conn.Close()
		return nil, err
	}
	return c, nil
}

// Close ends the session.
func (c *Conn) Close() error { return c.conn.Close() }

// Do executes a command. Its answer is decoded into answer unless that is nil.
// When ctx ends in the middle, the session is of no further use.
func (c *Conn) Do(ctx context.Context, command string, arguments, answer any) error {
	return c.do(ctx, command, arguments, answer, nil)
}

// Lend gives QEMU its own copy of file under the given name.
func (c *Conn) Lend(ctx context.Context, name string, file *os.File) error {
	lent, err := rights(file)
	if err != nil {
		return err
	}
	return c.do(ctx, "getfd", map[string]any{"fdname": name}, nil, lent)
}

type request struct {
	Execute   string `json:"execute"`
	Arguments any    `json:"arguments,omitempty"`
}

type reply struct {
	Return *json.RawMessage `json:"return"`
	Error  *Error           `json:"error"`
}

func (c *Conn) do(ctx context.Context, command string, arguments, answer any, rights []byte) error {
	defer c.watch(ctx)()
	b, err := json.Marshal(request{command, arguments})
	if err != nil {
		return fmt.Errorf("qemu: %s: %w", command, err)
	}
	if err := c.write(append(b, '\n'), rights); err != nil {
		return fmt.Errorf("qemu: %s: %w", command, c.cause(ctx, err))
	}
	for {
		var r reply
		if err := c.read(&r); err != nil {
			return fmt.Errorf("qemu: %s: %w", command, c.cause(ctx, err))
		}
		switch {
		case r.Error != nil:
			r.Error.Command = command
			return r.Error
		case r.Return != nil && answer != nil:
			if err := json.Unmarshal(*r.Return, answer); err != nil {
				return fmt.Errorf("qemu: %s: %w", command, err)
			}
			return nil
		case r.Return != nil:
			return nil
		}
		// An event: nobody here waits for one.
	}
}

func (c *Conn) write(b, rights []byte) error {
	if rights == nil {
		_, err := c.conn.Write(b)
		return err
	}
	u, ok := c.conn.(*net.UnixConn)
	if !ok {
		return errors.New("files can be lent over a Unix socket only")
	}
	_, _, err := u.WriteMsgUnix(b, rights, nil)
	return err
}

// read decodes the next message.
func (c *Conn) read(to any) error {
	var line []byte
	for {
		part, err := c.in.ReadSlice('\n')
		line = append(line, part...)
		if err == nil {
			break
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return err
		}
		if len(line) > maxLine {
			return fmt.Errorf("message longer than %d bytes", maxLine)
		}
	}
	return json.Unmarshal(bytes.TrimSpace(line), to)
}

// watch makes pending reads and writes end when ctx does, until the function
// that it returns is called.
func (c *Conn) watch(ctx context.Context) (stop func() bool) {
	return context.AfterFunc(ctx, func() {
		// The connection may be closed already: then nothing is pending.
		_ = c.conn.SetDeadline(time.Unix(1, 0))
	})
}

// cause prefers the reason for which ctx ended.
func (c *Conn) cause(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err == nil {
		return errors.New("something else than a greeting")
	}
	return err
}
