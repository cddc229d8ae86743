//go:build unix

package host_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"

	"outrigger.dev/outrigger/internal/host"
	"outrigger.dev/outrigger/internal/reach"
	"outrigger.dev/outrigger/internal/reach/deliver"
	"outrigger.dev/outrigger/internal/wire"
	"outrigger.dev/outrigger/test/agents"
	"outrigger.dev/outrigger/test/faultproxy"
	"outrigger.dev/outrigger/test/sshd"
)

func reached(t *testing.T) (*host.Host, *faultproxy.Proxy, *sshd.Server) {
	t.Helper()
	server := sshd.Start(t, sshd.Options{})
	ep := server.Endpoint()
	line, err := faultproxy.Start(faultproxy.Config{Target: ep.Address()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { line.Close() })
	ep.Port = line.Port()
	h, err := host.Dial(t.Context(), host.Config{Endpoint: ep})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Close() })
	return h, line, server
}

// lose breaks the connection and waits until that is known.
func lose(t *testing.T, h *host.Host, line *faultproxy.Proxy) *reach.Client {
	t.Helper()
	c, err := h.Client(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	line.Cut()
	<-c.Done()
	return c
}

func TestThoseWhoAskAtOnceShareOneConnection(t *testing.T) {
	h, line, _ := reached(t)
	old := lose(t, h, line)
	clients := make([]*reach.Client, 20)
	var wg sync.WaitGroup
	for i := range clients {
		wg.Go(func() {
			var err error
			if clients[i], err = h.Client(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for _, c := range clients {
		if c != clients[0] || c == old {
			t.Fatalf("got %p and %p, and had %p: want one that is new", c, clients[0], old)
		}
	}
}

func TestOneWhoWaitsForAnothersAttemptMayGiveUp(t *testing.T) {
	h, line, _ := reached(t)
	lose(t, h, line)
	resume := line.Stall()
	ctx, cancel := context.WithCancel(t.Context())
	errs := make(chan error, 2)
	for range 2 { // one dials, one waits for it; either way the end of ctx is their end
		go func() {
			_, err := h.Client(ctx)
			errs <- err
		}()
	}
	cancel()
	for range 2 {
		if err := <-errs; err == nil || !errors.Is(err, context.Canceled) {
			t.Errorf("got %v, want the end of the context", err)
		}
	}
	resume()
	if _, err := h.Client(t.Context()); err != nil {
		t.Errorf("after one that gave up: %v", err)
	}
}

func TestAfterCloseThereIsNoConnection(t *testing.T) {
	h, _, _ := reached(t)
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := h.Client(t.Context()); err == nil {
		t.Error("a connection after Close")
	}
}

// sshd with "MaxSessions 1", a common hardening, refuses a second session on a connection: it gets one of its own.
func TestSessionsThatOneConnectionDoesNotCarry(t *testing.T) {
	server := sshd.Start(t, sshd.Options{Lines: []string{"MaxSessions 1"}})
	h, err := host.Dial(t.Context(), host.Config{Endpoint: server.Endpoint(), Agents: deliver.Dirs(agents.Dir(t))})
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	for i := range 3 { // all stay open
		conn, err := h.Open(t.Context(), host.Serve, func(c *wire.Conn) error {
			return c.SendRequest(wire.MethodInfo, wire.InfoRequest{})
		})
		if err != nil {
			t.Fatalf("session %d: %v", i+1, err)
		}
		defer conn.Close()
		var info wire.Info
		if err := conn.RecvResponse(&info); err != nil || info.User == "" {
			t.Fatalf("session %d: %+v, %v", i+1, info, err)
		}
	}
	if n := server.Connections(); n != 3 {
		t.Errorf("%d connections, want 3", n)
	}
}

func TestNoSessionsAtAll(t *testing.T) {
	server := sshd.Start(t, sshd.Options{Lines: []string{"MaxSessions 0"}})
	h, err := host.Dial(t.Context(), host.Config{Endpoint: server.Endpoint(), Agents: deliver.Dirs(agents.Dir(t))})
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	_, err = h.Open(t.Context(), host.Serve, nil)
	if !errors.Is(err, reach.ErrNoSession) || !strings.Contains(err.Error(), "MaxSessions") {
		t.Errorf("got %v, want one that names MaxSessions", err)
	}
}
