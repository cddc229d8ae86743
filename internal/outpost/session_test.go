package outpost

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"outrigger.dev/outrigger/internal/outpost/allow"
)

// session joins a hub's end and an outpost that allows everything.
func session(t *testing.T) *Session {
	t.Helper()
	hub := make(chan *Session, 1)
	ended := make(chan struct{})
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer close(ended)
		ws, err := websocket.Accept(w, r, nil)
		if err != nil {
			t.Error(err)
			return
		}
		s, err := NewSession(t.Context(), ws, true)
		if err != nil {
			t.Error(err)
			return
		}
		hub <- s
		<-s.Done()
	}))
	ws, _, err := websocket.Dial(t.Context(), "ws"+strings.TrimPrefix(srv.URL, "http"), nil) //nolint:bodyclose // the library says that it need not be closed
	if err != nil {
		t.Fatal(err)
	}
	s, err := NewSession(t.Context(), ws, false)
	if err != nil {
		t.Fatal(err)
	}
	all, err := allow.Parse([]string{"*:*"})
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = serve(t.Context(), s, all, slog.New(slog.DiscardHandler)) // it ends with the session
	}()
	h := <-hub
	t.Cleanup(func() {
		h.Close()
		<-served
		<-ended
		srv.Close()
	})
	return h
}

// target answers each connection.
func target(t *testing.T, answer func(*net.TCPConn)) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				answer(c.(*net.TCPConn))
				c.Close()
			}()
		}
	}()
	return ln.Addr().String()
}

// The end of one direction is passed on as such: a server that answers only then
// works.
func TestHalfClose(t *testing.T) {
	s := session(t)
	address := target(t, func(c *net.TCPConn) {
		b, err := io.ReadAll(c)
		if err == nil {
			_, _ = c.Write(bytes.ToUpper(b))
		}
	})
	c, err := s.Dial(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := io.WriteString(c, "there and back"); err != nil {
		t.Fatal(err)
	}
	if err := c.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(c); string(b) != "THERE AND BACK" || err != nil {
		t.Errorf("%q, %v", b, err)
	}
}

// A reader that takes nothing holds up its own connection alone.
func TestStalledStreamHoldsUpNobody(t *testing.T) {
	s := session(t)
	flood := target(t, func(c *net.TCPConn) { _, _ = io.Copy(c, zeros{}) })
	echo := target(t, func(c *net.TCPConn) { _, _ = io.Copy(c, c) })
	stalled, err := s.Dial(t.Context(), flood)
	if err != nil {
		t.Fatal(err)
	}
	defer stalled.Close()
	// More than the window has come when this much was read: then nobody reads any more.
	if _, err := io.CopyN(io.Discard, stalled, 2*window); err != nil {
		t.Fatal(err)
	}
	for range 20 {
		c, err := s.Dial(t.Context(), echo)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(c, "ping"); err != nil {
			t.Fatal(err)
		}
		b := make([]byte, 4)
		if _, err := io.ReadFull(c, b); err != nil || string(b) != "ping" {
			t.Fatalf("%q, %v", b, err)
		}
		c.Close()
	}
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { return len(b), nil }

// Close wakes a reader, also while the other side goes on.
func TestCloseWakesTheReader(t *testing.T) {
	s := session(t)
	c, err := s.Dial(t.Context(), target(t, func(c *net.TCPConn) { _, _ = io.Copy(io.Discard, c) }))
	if err != nil {
		t.Fatal(err)
	}
	got := make(chan error, 1)
	go func() {
		_, err := c.Read(make([]byte, 1))
		got <- err
	}()
	c.Close()
	select {
	case err := <-got:
		if err == nil {
			t.Error("read something")
		}
	case <-time.After(30 * time.Second):
		t.Fatal("the reader waits for ever")
	}
}

func TestRefusals(t *testing.T) {
	s := session(t)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed := ln.Addr().String()
	ln.Close()
	for address, code := range map[string]Code{closed: Refused, "no-such-host.invalid:22": NoName, "nonsense": BadRequest, "x:0": BadRequest} {
		var no *Refusal
		if _, err := s.Dial(t.Context(), address); !errors.As(err, &no) || no.Code != code {
			t.Errorf("%s: %v, want %s", address, err, code)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Dial(ctx, closed); !errors.Is(err, context.Canceled) {
		t.Errorf("after the context's end: %v", err)
	}
}

// What claims to be a frame is bounded before it is read.
func FuzzReadFrame(f *testing.F) {
	f.Add([]byte("\x00\x0e{\"to\":\"a:22\"}\n"))
	f.Add([]byte("\xff\xff"))
	f.Fuzz(func(t *testing.T, data []byte) {
		var req request
		r := bytes.NewReader(data)
		err := readFrame(r, &req)
		if read := len(data) - r.Len(); read > maxFrame+2 {
			t.Errorf("%d bytes read: %v", read, err)
		}
	})
}
