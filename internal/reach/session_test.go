//go:build unix

package reach_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/reach"
	"outrigger.dev/outrigger/test/faultproxy"
	"outrigger.dev/outrigger/test/sshd"
)

func TestStreamsSideBySideAreExact(t *testing.T) {
	noLeaks(t)
	c := dial(t, sshd.Start(t, sshd.Options{}).Endpoint(), reach.Options{})
	sent := make([]byte, 8<<20) // more than a channel's window of 2 MiB
	_, _ = rand.Read(sent)
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			s, err := c.Stream(t.Context(), "cat; echo >&2 this is no error")
			if err != nil {
				t.Error(err)
				return
			}
			defer s.Close()
			wg.Go(func() {
				if _, err := s.Write(sent); err != nil {
					t.Error(err)
				}
				if err := s.CloseWrite(); err != nil {
					t.Error(err)
				}
			})
			got, err := io.ReadAll(s)
			if err != nil || !bytes.Equal(got, sent) {
				t.Errorf("stream %d: %d bytes, %v; want %d bytes, unchanged", i, len(got), err, len(sent))
			}
		})
	}
	wg.Wait()
}

func TestStreamTellsHowItsCommandEnded(t *testing.T) {
	noLeaks(t)
	c := dial(t, sshd.Start(t, sshd.Options{}).Endpoint(), reach.Options{})
	for _, tt := range []struct {
		command string
		out     string
		code    int
		stderr  string
	}{
		{"printf ok", "ok", 0, ""},
		{"printf some; echo why >&2; exit 3", "some", 3, "why"},
		{"exec no-such-command", "", 127, "not found"},
		{"kill -KILL $$", "", 137, ""},
		{"i=0; while [ $i -lt 20000 ]; do echo line $i >&2; i=$((i+1)); done; exit 1", "", 1, "line 19999"},
	} {
		t.Run(tt.command, func(t *testing.T) {
			s, err := c.Stream(t.Context(), tt.command)
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			out, err := io.ReadAll(s)
			if string(out) != tt.out {
				t.Errorf("stdout %q, want %q", out, tt.out)
			}
			var exit *reach.ExitError
			if tt.code == 0 {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if !errors.As(err, &exit) || exit.Code != tt.code {
				t.Fatalf("got %v, want exit code %d", err, tt.code)
			}
			if !strings.Contains(exit.Stderr, tt.stderr) || len(exit.Stderr) > 4<<10 {
				t.Errorf("stderr %q, want %q in it and a bound", exit.Stderr, tt.stderr)
			}
		})
	}
}

func TestClosedStreamEndsItsReader(t *testing.T) {
	noLeaks(t)
	c := dial(t, sshd.Start(t, sshd.Options{}).Endpoint(), reach.Options{})
	s, err := c.Stream(t.Context(), "cat")
	if err != nil {
		t.Fatal(err)
	}
	read := make(chan error)
	go func() {
		_, err := s.Read(make([]byte, 1))
		read <- err
	}()
	s.Close()
	if err := <-read; err == nil {
		t.Error("a byte came from nowhere")
	}
	output(t, c, "true") // the connection is none the worse
}

// OpenSSH confirms that a session is closed when its command has ended. Nobody waits for one that hangs.
func TestClosedStreamOfACommandThatHangs(t *testing.T) {
	noLeaks(t)
	server := sshd.Start(t, sshd.Options{}).Endpoint()
	for name, use := range map[string]func(io.ReadWriter) error{
		"read": func(s io.ReadWriter) error { _, err := io.Copy(io.Discard, s); return err },
		"write": func(s io.ReadWriter) error {
			_, err := s.Write(make([]byte, 16<<20)) // more than anything on the way holds
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := dial(t, server, reach.Options{})
			s, err := c.Stream(t.Context(), "echo begun; trap '' HUP PIPE TERM; exec sleep 20")
			if err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadFull(s, make([]byte, len("begun"))); err != nil {
				t.Fatal(err)
			}
			ended := make(chan error, 1)
			go func() { ended <- use(s) }()
			s.Close()
			select {
			case err := <-ended:
				if err == nil {
					t.Error("no error of what was cut off")
				}
			case <-time.After(30 * time.Second):
				t.Error("still blocked")
			}
		})
	}
}

func TestServerDiesUnderStreams(t *testing.T) {
	noLeaks(t)
	server := sshd.Start(t, sshd.Options{})
	c := dial(t, server.Endpoint(), reach.Options{})
	s, err := c.Stream(t.Context(), "echo there; exec cat")
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	line := make([]byte, 6)
	if _, err := io.ReadFull(s, line); err != nil {
		t.Fatal(err)
	}
	server.Kill()
	if _, err := s.Read(line); !fault.Is(err, fault.Unreachable) {
		t.Errorf("read: got %v, want a fault of kind Unreachable", err)
	}
	<-c.Done()
	if err := c.Err(); !fault.Is(err, fault.Unreachable) || !strings.Contains(err.Error(), "connection lost") {
		t.Errorf("Err = %v", err)
	}
	if _, err := s.Write(line); err == nil {
		t.Error("write to a dead connection went well")
	}
	if _, err := c.Stream(t.Context(), "true"); !fault.Is(err, fault.Unreachable) || !strings.Contains(err.Error(), "connection lost") {
		t.Errorf("new stream: %v", err)
	}
	if _, _, err := c.Output(t.Context(), "true", nil); !fault.Is(err, fault.Unreachable) {
		t.Errorf("output: %v", err)
	}
}

func TestKeepaliveNoticesAStalledConnection(t *testing.T) {
	noLeaks(t)
	server := sshd.Start(t, sshd.Options{})
	p, err := faultproxy.Start(faultproxy.Config{Target: server.Endpoint().Address()})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	ep := server.Endpoint()
	ep.Port = p.Port()
	c := dial(t, ep, reach.Options{Keepalive: 20 * time.Millisecond, KeepaliveMisses: 5})
	s, err := c.Stream(t.Context(), "cat")
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, err := s.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	p.Stall()
	if _, err := s.Read(make([]byte, 1)); !fault.Is(err, fault.Unreachable) || !strings.Contains(err.Error(), "no sign of life for 100ms") {
		t.Errorf("read: %v", err)
	}
	<-c.Done()
}

// Nothing may hang on a machine that has gone silent, not even without keepalive.
func TestContextCountsOnAStalledConnection(t *testing.T) {
	noLeaks(t)
	server := sshd.Start(t, sshd.Options{})
	p, err := faultproxy.Start(faultproxy.Config{Target: server.Endpoint().Address()})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	ep := server.Endpoint()
	ep.Port = p.Port()
	c := dial(t, ep, reach.Options{Keepalive: -1})
	running := make(chan error)
	runCtx, cancelRun := context.WithCancel(t.Context())
	started, screen := io.Pipe()
	go func() {
		_, err := c.Shell(runCtx, reach.ShellSpec{Command: "echo up; sleep 60", Stdout: screen})
		running <- err
	}()
	if _, err := io.ReadFull(started, make([]byte, 3)); err != nil {
		t.Fatal(err)
	}
	p.Stall()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, _, err := c.Output(ctx, "true", nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Output: %v", err)
	}
	if _, err := c.Stream(ctx, "true"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Stream: %v", err)
	}
	if _, err := c.DialContext(ctx, "tcp", "127.0.0.1:1"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("DialContext: %v", err)
	}
	cancelRun()
	if err := <-running; !errors.Is(err, context.Canceled) {
		t.Errorf("Shell: %v", err)
	}
	if err := c.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
}

func TestCloseEndsEverything(t *testing.T) {
	noLeaks(t)
	server := sshd.Start(t, sshd.Options{})
	c := dial(t, server.Endpoint(), reach.Options{})
	s, err := c.Stream(t.Context(), "cat")
	if err != nil {
		t.Fatal(err)
	}
	if c.Err() != nil {
		t.Errorf("Err = %v on an open connection", c.Err())
	}
	c.Close()
	if _, err := s.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
		t.Errorf("read: got %v, want net.ErrClosed", err)
	}
	if !errors.Is(c.Err(), net.ErrClosed) {
		t.Errorf("Err = %v, want net.ErrClosed", c.Err())
	}
	if err := c.Close(); err != nil {
		t.Errorf("second Close: %v", err)
	}
	await(t, "the server has noticed", func() bool { return server.Connections() == 0 })
}

func TestOutput(t *testing.T) {
	noLeaks(t)
	c := dial(t, sshd.Start(t, sshd.Options{}).Endpoint(), reach.Options{})
	out, exit, err := c.Output(t.Context(), "cat; echo not this >&2; exit 9", strings.NewReader("in"))
	if string(out) != "in" || exit != 9 || err != nil {
		t.Errorf("got %q, %d, %v", out, exit, err)
	}
	out, exit, err = c.Output(t.Context(), fmt.Sprintf("head -c %d /dev/zero", 3*reach.MaxOutput), nil)
	if len(out) != reach.MaxOutput || exit != 0 || err != nil {
		t.Errorf("got %d bytes, %d, %v; want the first MiB", len(out), exit, err)
	}
}

func TestOutputEndsWithItsContext(t *testing.T) {
	noLeaks(t)
	server := sshd.Start(t, sshd.Options{})
	c := dial(t, server.Endpoint(), reach.Options{})
	dir := server.Dir(t)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() {
		_, _, err := c.Output(ctx, "trap 'echo told >"+dir+"/told; exit' TERM; echo $$ >"+dir+"/pid; while :; do sleep 0.05; done", nil)
		done <- err
	}()
	await(t, "the command runs", func() bool { return output(t, c, "cat "+dir+"/pid 2>/dev/null || true") != "" })
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want a cancelled context", err)
	}
	await(t, "the command was told", func() bool { return output(t, c, "cat "+dir+"/told 2>/dev/null || true") == "told" })
}

func TestShellOnATerminal(t *testing.T) {
	noLeaks(t)
	c := dial(t, sshd.Start(t, sshd.Options{}).Endpoint(), reach.Options{})
	in, typed := io.Pipe()
	defer typed.Close()
	var screen lockedBuffer
	resized := make(chan reach.Window)
	type end struct {
		exit int
		err  error
	}
	ended := make(chan end)
	go func() {
		exit, err := c.Shell(t.Context(), reach.ShellSpec{
			Stdin: in, Stdout: &screen, Term: "vt100", Window: reach.Window{Width: 101, Height: 33}, Resized: resized,
			Env: map[string]string{"TEST_WORD": "float"},
		})
		ended <- end{exit, err}
	}()
	typing := func(line, want string) {
		t.Helper()
		if _, err := io.WriteString(typed, line+"\n"); err != nil {
			t.Fatal(err)
		}
		await(t, "the screen shows "+want, func() bool { return strings.Contains(screen.String(), want) })
	}
	typing("tty >/dev/null && echo $TERM-$TEST_WORD", "vt100-float")
	typing("stty size", "33 101")
	resized <- reach.Window{Width: 77, Height: 22}
	typing("until [ \"$(stty size)\" = '22 77' ]; do sleep 0.01; done; echo re''sized", "resized")
	typing("exit 5", "")
	if got := <-ended; got.exit != 5 || got.err != nil {
		t.Errorf("got exit %d, %v; want 5", got.exit, got.err)
	}
}

func TestShellExitCodes(t *testing.T) {
	noLeaks(t)
	c := dial(t, sshd.Start(t, sshd.Options{}).Endpoint(), reach.Options{})
	for command, want := range map[string]int{"true": 0, "exit 255": 255, "kill -TERM $$": 143, "kill -SEGV $$": 139} {
		if exit, err := c.Shell(t.Context(), reach.ShellSpec{Command: command}); exit != want || err != nil {
			t.Errorf("%s: got %d, %v; want %d", command, exit, err, want)
		}
	}
}

func TestDialContextGoesThroughTheMachine(t *testing.T) {
	noLeaks(t)
	c := dial(t, sshd.Start(t, sshd.Options{}).Endpoint(), reach.Options{})
	ep := serveTCP(t, func(c net.Conn) { _, _ = io.WriteString(c, "hello") })
	conn, err := c.DialContext(t.Context(), "tcp", ep.Address())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if got, err := io.ReadAll(conn); string(got) != "hello" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
	ep.Port = 1
	if _, err := c.DialContext(t.Context(), "tcp", ep.Address()); !fault.Is(err, fault.Unreachable) {
		t.Errorf("a port where nobody listens: %v", err)
	}
}

func TestTooManySessions(t *testing.T) {
	noLeaks(t)
	c := dial(t, sshd.Start(t, sshd.Options{Lines: []string{"MaxSessions 1"}}).Endpoint(), reach.Options{})
	s, err := c.Stream(t.Context(), "cat")
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, err := c.Stream(t.Context(), "cat"); !fault.Is(err, fault.Unreachable) || !strings.Contains(err.Error(), "session") {
		t.Errorf("second session: %v", err)
	}
}

func TestDialHook(t *testing.T) {
	noLeaks(t)
	server := sshd.Start(t, sshd.Options{})
	real := server.Endpoint().Address()
	ep := server.Endpoint()
	ep.Host, ep.Port = "only.the.proxy.knows", 0
	var asked []string
	c := dial(t, ep, reach.Options{DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
		asked = append(asked, address)
		return new(net.Dialer).DialContext(ctx, network, real)
	}})
	output(t, c, "true")
	if len(asked) != 1 || asked[0] != "only.the.proxy.knows:22" {
		t.Errorf("dialled %v", asked)
	}
}

// A lockedBuffer may be read while it is written.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
