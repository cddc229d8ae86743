//go:build linux

package agent_test

import (
	"context"
	"io"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/machine"
	"outrigger.dev/outrigger/internal/runclient"
	"outrigger.dev/outrigger/internal/wire"
)

// A mute connection says so many bytes, and then nothing for as long as it is open.
type mute struct {
	io.ReadWriteCloser
	left   int
	closed chan struct{}
	once   sync.Once
}

func (m *mute) Read(b []byte) (int, error) {
	if m.left <= 0 {
		<-m.closed
		return 0, io.ErrClosedPipe
	}
	n, err := m.ReadWriteCloser.Read(b[:min(len(b), m.left)])
	m.left -= n
	return n, err
}

func (m *mute) Close() error {
	m.once.Do(func() { close(m.closed) })
	return m.ReadWriteCloser.Close()
}

// dialMute dials agents that hang after so many bytes.
func (h *host) dialMute(after int) runclient.Dial {
	return func(context.Context) (*wire.Conn, error) {
		p, err := h.start("connect")
		if err != nil {
			return nil, err
		}
		conn := wire.NewConn(&mute{ReadWriteCloser: p, left: after, closed: make(chan struct{})})
		if err := conn.Greet("test", machine.Platform{OS: runtime.GOOS, Arch: runtime.GOARCH}); err != nil {
			return nil, err
		}
		return conn, conn.Flush()
	}
}

// Neither the greeting, the answer to a start, nor what follows may hold somebody who gives up.
func TestGivingUpAnAgentThatHangs(t *testing.T) {
	h := newHost(t)
	h.lease("a")
	for _, after := range []int{0, 3, 100, 200} {
		ctx, cancel := context.WithCancelCause(t.Context())
		spec := h.spec(sh("exec sleep 600"))
		spec.KillGrace = 10 * time.Minute
		ended := make(chan error, 1)
		go func() {
			_, err := runclient.Run(ctx, h.dialMute(after), spec, runclient.Streams{}, runclient.Options{
				Asked: func() { cancel(fault.New(fault.Interrupted, "enough")) },
			})
			ended <- err
		}()
		select {
		case err := <-ended:
			if !fault.Is(err, fault.Interrupted) {
				t.Errorf("hung after %d bytes: got %v, want Interrupted", after, err)
			}
		case <-time.After(time.Minute):
			t.Fatalf("hung after %d bytes: it did not end", after)
		}
	}
}

func TestAnAgentThatHangsIsNamed(t *testing.T) {
	h := newHost(t)
	h.lease("a")
	_, err := runclient.Run(t.Context(), h.dialMute(3), h.spec(sh("true")), runclient.Streams{}, runclient.Options{
		Answer: 100 * time.Millisecond, Redial: 300 * time.Millisecond, Where: "mini",
	})
	if !fault.Is(err, fault.MachineLost) || !strings.Contains(err.Error(), "mini") || !strings.Contains(err.Error(), "hangs") {
		t.Errorf("got %v, want MachineLost that names the machine and what it does", err)
	}
}
