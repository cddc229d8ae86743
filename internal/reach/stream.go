package reach

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/ssh"

	"outrigger.dev/outrigger/internal/fault"
)

// A Stream is the stdin and stdout of a command on the machine. After the last
// byte of stdout, Read waits for the command's end and gives io.EOF if it
// ended well, else an [*ExitError].
type Stream struct {
	c    *Client
	ch   ssh.Channel
	end  *ending
	tail *tail         // the end of stderr
	errs chan struct{} // closed when stderr has ended
	gone chan struct{} // closed when the channel is

	busy   atomic.Int32 // reads and writes under way
	closed sync.Once
}

// An ExitError tells that the command of a stream did not end well.
type ExitError struct {
	Code   int    // 128+N for signal N; -1 when the machine did not say
	Stderr string // the end of what it wrote there
}

// Error implements error.
func (e *ExitError) Error() string {
	how := fmt.Sprintf("command on the machine ended with exit code %d", e.Code)
	if e.Code < 0 {
		how = "command on the machine ended without an exit code"
	}
	if e.Stderr != "" {
		how += ": " + strings.ReplaceAll(e.Stderr, "\n", "; ")
	}
	return how
}

// stderrKept is how much of stderr an error shows, at most.
const stderrKept = 4 << 10

// Stream starts command and joins its stdin and stdout. ctx bounds the
// opening only; Close ends the stream.
func (c *Client) Stream(ctx context.Context, command string) (*Stream, error) {
	return c.stream(ctx, "exec", command)
}

// Subsystem is [Client.Stream] for a subsystem of the server, such as "sftp".
func (c *Client) Subsystem(ctx context.Context, name string) (*Stream, error) {
	return c.stream(ctx, "subsystem", name)
}

func (c *Client) stream(ctx context.Context, kind, what string) (*Stream, error) {
	ch, reqs, err := c.openChannel(ctx, "session")
	if err != nil {
		return nil, err
	}
	s := &Stream{c: c, ch: ch, end: newEnding(), tail: &tail{max: stderrKept}, errs: make(chan struct{}), gone: make(chan struct{})}
	go func() {
		defer close(s.gone)
		s.end.watch(reqs)
	}()
	go func() {
		defer close(s.errs)
		_, _ = io.Copy(s.tail, ch.Stderr()) // ends with the channel; why it ended, Read says
	}()
	// Not waiting for the answer would save nothing: OpenSSH takes no input
	// before it has started the command, and says both at once.
	if err := c.until(ctx, func() error { return c.request(ch, kind, ssh.Marshal(execMsg{what})) }); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// Read reads from the command's stdout.
func (s *Stream) Read(b []byte) (int, error) {
	s.busy.Add(1)
	defer s.busy.Add(-1)
	n, err := s.ch.Read(b)
	if err == nil || n > 0 {
		return n, nil
	}
	if !errors.Is(err, io.EOF) {
		return 0, s.c.explain(err)
	}
	return 0, s.ended()
}

func (s *Stream) ended() error {
	<-s.end.known
	code := s.end.code()
	if code == 0 {
		return io.EOF
	}
	if code == exitUnknown && s.c.gone() {
		return s.c.Err()
	}
	<-s.errs // the end of stdout is that of stderr too: there is one end per channel
	return &ExitError{Code: code, Stderr: s.tail.String()}
}

// Write writes to the command's stdin.
func (s *Stream) Write(b []byte) (int, error) {
	s.busy.Add(1)
	defer s.busy.Add(-1)
	n, err := s.ch.Write(b)
	if err != nil {
		err = s.c.explain(err)
	}
	return n, err
}

// CloseWrite ends the command's stdin.
func (s *Stream) CloseWrite() error { return s.ch.CloseWrite() }

// hangUpLimit is how long the machine may take to confirm that a stream is closed. OpenSSH does so when the command
// has ended, which an agent does at the end of its input; one that hangs never does.
const hangUpLimit = 5 * time.Second

// Close ends the stream on both sides. A Read or Write that is blocked returns when the machine has confirmed
// it, or when the connection ends, which it does if the machine confirms nothing for [hangUpLimit].
func (s *Stream) Close() error {
	err := s.ch.Close()
	s.closed.Do(func() { go s.letGo() })
	if errors.Is(err, io.EOF) {
		return nil // closed already, by either side
	}
	return err
}

func (s *Stream) letGo() {
	t := time.NewTimer(hangUpLimit)
	defer t.Stop()
	select {
	case <-s.gone:
		return
	case <-s.c.Done():
		return
	case <-t.C:
	}
	if s.busy.Load() > 0 {
		s.c.fail(fault.New(fault.Unreachable, "%s: a command on the machine hangs: it did not end within %s of being hung up on", s.c.Where(), hangUpLimit))
	}
}

// A tail keeps the last max bytes that were written to it.
type tail struct {
	max int
	mu  sync.Mutex
	b   []byte
}

func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.b = append(t.b, b...)
	if over := len(t.b) - t.max; over > 0 {
		t.b = append(t.b[:0], t.b[over:]...)
	}
	return len(b), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.ToValidUTF8(strings.TrimSpace(string(t.b)), "?")
}
