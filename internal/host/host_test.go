//go:build unix

package host_test

import (
	"context"
	"errors"
	"sync"
	"testing"

	"outrigger.dev/outrigger/internal/host"
	"outrigger.dev/outrigger/internal/reach"
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
