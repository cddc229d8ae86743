// Package reach gets to a machine: SSH with host keys that are known
// beforehand, through jump hosts if need be, never asking a person anything.
//
// [Dial] tries once, [Wait] until a machine that is just booting answers. Both
// give a [Client], on which streams, commands and shells run side by side.
// What goes wrong comes back as a fault that says which of three things it
// was: nobody there (Unreachable), somebody who does not let us in
// (AuthRefused), or somebody else (HostKey).
package reach

import (
	"context"
	"io"
	"log/slog"
	"net"
	"time"

	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/machine"
)

// Options tune a connection. The zero value is fit for use.
type Options struct {
	Log *slog.Logger // nil: silent

	// Timeout bounds one attempt, from the first packet to the end of the
	// login, for each host on the way. 0 means 20 seconds.
	Timeout time.Duration

	// Keepalive is how often the machine is asked for a sign of life. After
	// KeepaliveMisses intervals without one the connection is closed, so that
	// its users notice. 0 means 15 seconds and 3 misses; negative: never ask.
	Keepalive       time.Duration
	KeepaliveMisses int

	// DialContext opens the connection to the first host; nil means TCP.
	DialContext func(ctx context.Context, network, address string) (net.Conn, error)
}

// Dial connects and logs in, once. Faults: Unreachable, AuthRefused, HostKey,
// and Config or LocalFile for keys that cannot be used.
func Dial(ctx context.Context, ep machine.Endpoint, opts Options) (*Client, error) {
	return nil, fault.New(fault.Internal, "reach: not there yet")
}

// Wait dials until the machine answers, the login is refused, the host key is
// wrong or ctx ends. It is for machines that were just made: it tries often,
// and a port that accepts but says nothing does not hold it up. When ctx ends,
// the error is that of the last attempt and wraps ctx's.
func Wait(ctx context.Context, ep machine.Endpoint, opts Options) (*Client, error) {
	return nil, fault.New(fault.Internal, "reach: not there yet")
}

// A Client is a connection to a machine. Its methods may be called at once.
type Client struct{}

// Close ends the connection and everything on it.
func (c *Client) Close() error { return nil }

// Done is closed when the connection is over, however it ended.
func (c *Client) Done() <-chan struct{} { return nil }

// Err tells why the connection is over: nil while it is not, net.ErrClosed after Close.
func (c *Client) Err() error { return nil }

// ServerVersion returns how the server introduced itself, "SSH-2.0-OpenSSH_9.2".
func (c *Client) ServerVersion() string { return "" }

// Stream starts command and joins its stdin and stdout. ctx bounds the
// opening only; Close ends the stream.
func (c *Client) Stream(ctx context.Context, command string) (*Stream, error) {
	return nil, fault.New(fault.Internal, "reach: not there yet")
}

// A Stream is the stdin and stdout of a command on the machine. Once the
// command has ended, Read gives io.EOF after its last byte if it ended well,
// else an error with its exit code and the end of what it wrote to stderr.
type Stream struct{ io.ReadWriteCloser }

// CloseWrite ends the command's stdin.
func (s *Stream) CloseWrite() error { return nil }

// Output runs command to its end with stdin (nil: empty) and returns its
// stdout, bounded to 1 MiB, and its exit code. A command that exits with another code
// than 0 is no error; the end of its stderr is then appended to the output.
func (c *Client) Output(ctx context.Context, command string, stdin io.Reader) (stdout []byte, exit int, err error) {
	return nil, 0, fault.New(fault.Internal, "reach: not there yet")
}

// A Window is a terminal's size in characters.
type Window struct{ Width, Height int }

// A ShellSpec says what [Client.Shell] runs and joins.
type ShellSpec struct {
	Command string // "": the user's login shell
	Stdin   io.Reader
	Stdout  io.Writer
	Stderr  io.Writer         // used without a Term only: a terminal has one output
	Term    string            // value of TERM; "": no terminal
	Window  Window            // the first size
	Resized <-chan Window     // may be nil
	Env     map[string]string // what the server accepts of it
}

// Shell runs a shell or a command with the user's streams until it ends and
// returns its exit code, 128+N for signal N. ctx ends it.
func (c *Client) Shell(ctx context.Context, spec ShellSpec) (exit int, err error) {
	return 0, fault.New(fault.Internal, "reach: not there yet")
}

// DialContext opens a connection from the machine to address, through it.
func (c *Client) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	return nil, fault.New(fault.Internal, "reach: not there yet")
}
