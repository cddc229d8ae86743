package wire_test

import (
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/wire"
)

// A counted connection tells after how many writes it wants to be told.
type counted struct {
	net.Conn
	left    atomic.Int64
	reached chan struct{}
}

func (c *counted) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	if c.left.Add(-1) == 0 {
		close(c.reached)
	}
	return n, err
}

// The answer takes four times as long as the other side may be silent.
func TestWhoWorksForLongAndSaysSoIsWaitedFor(t *testing.T) {
	const beat, limit = 20 * time.Millisecond, time.Second
	a, b := net.Pipe()
	far := &counted{Conn: b, reached: make(chan struct{})}
	far.left.Store(4 * int64(limit/beat))
	near, agent := wire.NewConn(a), wire.NewConn(far)
	near.LimitSilence(limit, "mini")
	defer near.Close()
	defer agent.Close()
	stop := agent.Beat(beat)
	defer stop()
	go func() {
		<-far.reached
		_ = agent.Respond("done", nil) // the near side reports what is wrong
	}()
	var got string
	if err := near.RecvResponse(&got); err != nil || got != "done" {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestWhoHangsIsNotWaitedFor(t *testing.T) {
	for _, said := range []string{"", "\x03", "\x03\x00\x00\x00\x09half"} {
		a, b := net.Pipe()
		near := wire.NewConn(a)
		near.LimitSilence(50*time.Millisecond, "mini")
		go func() { _, _ = io.WriteString(b, said) }()
		_, err := near.Recv()
		if !fault.Is(err, fault.Unreachable) || !strings.Contains(err.Error(), "mini: the agent there hangs") {
			t.Errorf("after %q: got %v", said, err)
		}
		b.Close()
	}
}
