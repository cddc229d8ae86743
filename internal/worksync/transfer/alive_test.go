package transfer_test

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/wire"
	"outrigger.dev/outrigger/internal/worksync/transfer"
)

// A hanging connection passes some bytes on, counted in both directions, and then swallows and says nothing, as
// long as it is open.
type hanging struct {
	net.Conn
	closed chan struct{}
	once   sync.Once
	mu     sync.Mutex
	left   int
}

func (h *hanging) spend(n int) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.left -= n
	return h.left >= 0
}

func (h *hanging) Write(b []byte) (int, error) {
	if !h.spend(len(b)) {
		return len(b), nil
	}
	return h.Conn.Write(b)
}

func (h *hanging) Read(b []byte) (int, error) {
	n, err := h.Conn.Read(b)
	if err == nil && !h.spend(n) {
		<-h.closed
		return 0, net.ErrClosed
	}
	return n, err
}

func (h *hanging) Close() error {
	h.once.Do(func() { close(h.closed) })
	return h.Conn.Close()
}

// TestAFarSideThatHangs hangs at many places of a sync there and back, and repeats it.
func TestAFarSideThatHangs(t *testing.T) {
	noGoroutines(t)
	for _, up := range []bool{true, false} {
		hung := 0
		for after := 1; after < 2000; after += 97 {
			p := newPair(t)
			p.silence = 100 * time.Millisecond
			op := (*transfer.Session).Up
			write(t, p.near, map[string]string{"a/b": strings.Repeat("x", 5000), "c": "1", "l -> c": ""})
			if !up {
				p.mustUp()
				write(t, p.far, map[string]string{"a/b": "less", "new": strings.Repeat("y", 3000)})
				op = (*transfer.Session).Back
			}
			err := p.session(func(c net.Conn) net.Conn {
				return &hanging{Conn: c, closed: make(chan struct{}), left: after}
			}, func(ctx context.Context, s *transfer.Session) error {
				_, err := op(s, ctx)
				return err
			})
			if err != nil {
				hung++
				if !fault.Is(err, fault.Unreachable) || !strings.Contains(err.Error(), "mini: the agent there hangs") {
					t.Fatalf("hung after %d bytes: got %v", after, err)
				}
			}
			p.silence = 0
			if up {
				p.mustUp()
			} else {
				p.mustBack()
			}
			p.wantEqual()
		}
		if hung == 0 {
			t.Error("it never hung")
		}
	}
}

// In an operation the far side says that it lives, whatever it waits for.
func TestAnOperationIsHeardOf(t *testing.T) {
	noGoroutines(t)
	p := newPair(t)
	a, b := net.Pipe()
	served := make(chan error, 1)
	go func() {
		served <- transfer.Serve(t.Context(), wire.NewConn(b), transfer.ServeConfig{Root: p.far, StateDir: p.farState, Beat: time.Millisecond})
	}()
	if err := wire.NewConn(a).Send(wire.TypeSyncFirst, map[int]any{}); err != nil {
		t.Fatal(err)
	}
	for {
		var head [5]byte
		if _, err := io.ReadFull(a, head[:]); err != nil {
			t.Fatal(err)
		}
		if wire.Type(head[0]) == wire.TypeAlive {
			break
		}
		if _, err := io.CopyN(io.Discard, a, int64(binary.BigEndian.Uint32(head[1:]))); err != nil {
			t.Fatal(err)
		}
	}
	a.Close()
	<-served // with the error of a connection that broke
}
