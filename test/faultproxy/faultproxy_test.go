package faultproxy

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// patience is how long a test waits for what must happen; never reached by a passing test.
const patience = 20 * time.Second

// TestBytesArriveExactly: whatever the link is like, both directions carry what was
// sent, and the end of one direction reaches the other side alone.
func TestBytesArriveExactly(t *testing.T) {
	for _, tt := range []struct {
		name string
		link Link
	}{
		{"as it is", Link{}},
		{"long", Link{Delay: 5 * time.Millisecond}},
		{"narrow", Link{BytesPerSec: 20 << 20}},
		{"long, with a small window", Link{Delay: time.Millisecond, Window: 256 << 10}},
		{"a window smaller than one read", Link{Window: 100}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := start(t, Config{Target: echo(t), Link: tt.link})
			c := dial(t, p)
			sent := random(3 << 20)
			var wg sync.WaitGroup
			wg.Go(func() {
				if _, err := c.Write(sent); err != nil {
					t.Errorf("write: %v", err)
				}
				if err := c.(*net.TCPConn).CloseWrite(); err != nil {
					t.Errorf("close write: %v", err)
				}
			})
			got, err := io.ReadAll(c)
			wg.Wait()
			if err != nil {
				t.Fatal(err)
			}
			if sha256.Sum256(got) != sha256.Sum256(sent) {
				t.Errorf("got %d bytes that differ from the %d sent", len(got), len(sent))
			}
		})
	}
}

// TestCutIsSeenAsReset: both ends hear of a cut, and the next connection works.
func TestCutIsSeenAsReset(t *testing.T) {
	p := start(t, Config{Target: echo(t)})
	c := dial(t, p)
	ping(t, c)
	if n := p.Cut(); n != 1 {
		t.Errorf("Cut broke %d connections, want 1", n)
	}
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("read after a cut: %v, want connection reset", err)
	}
	ping(t, dial(t, p))
}

// TestVanishTellsNobody: bytes into a black hole are accepted and never answered.
func TestVanishTellsNobody(t *testing.T) {
	p := start(t, Config{Target: echo(t)})
	c := dial(t, p)
	ping(t, c)
	p.Vanish()
	if _, err := c.Write([]byte("anybody?")); err != nil {
		t.Errorf("write into the hole: %v, want nil", err)
	}
	if err := c.SetReadDeadline(time.Now().Add(50 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if n, err := c.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("read from the hole: %d bytes, %v; want nothing until the deadline", n, err)
	}
	ping(t, dial(t, p))
}

// TestStallLosesNothing: what was sent while nothing passed arrives afterwards.
func TestStallLosesNothing(t *testing.T) {
	p := start(t, Config{Target: echo(t)})
	c := dial(t, p)
	ping(t, c)
	resume := p.Stall()
	if _, err := c.Write([]byte("later")); err != nil {
		t.Fatal(err)
	}
	if err := c.SetReadDeadline(time.Now().Add(50 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if n, err := c.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("read during a stall: %d bytes, %v; want nothing until the deadline", n, err)
	}
	resume()
	want(t, c, "later")
}

func TestRefuseResetsOnlyTheNext(t *testing.T) {
	p := start(t, Config{Target: echo(t)})
	p.Refuse(1)
	c, err := net.Dial("tcp", p.Addr())
	if err == nil { // else the reset overtook the answer to Dial
		defer c.Close()
		_, err = c.Read(make([]byte, 1))
	}
	if !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("dial and read on a refused connection: %v, want connection reset", err)
	}
	ping(t, dial(t, p))
}

// TestPlanRepeats: the same seed breaks the same connection at the same byte, and
// a plan with a Max comes to its end.
func TestPlanRepeats(t *testing.T) {
	plan := Plan{Seed: 42, Every: 50_000, Kinds: []Kind{Cut, Finish}, Max: 3}
	faults := func() []Event {
		p := start(t, Config{Target: discard(t), Plan: plan})
		for range 10 { // 3 of them break, the later ones live
			c := dial(t, p)
			_, err := c.Write(random(500_000))
			if err == nil {
				err = c.(*net.TCPConn).CloseWrite()
			}
			if err == nil {
				_, err = io.ReadAll(c) // returns once the target has read all of it or the proxy broke it
			}
			c.Close()
			if err == nil && len(p.Faults()) == plan.Max {
				break
			}
		}
		return p.Faults()
	}
	first := faults()
	if len(first) != plan.Max {
		t.Fatalf("%d faults, want %d: %v", len(first), plan.Max, first)
	}
	if diff := cmp.Diff(first, faults()); diff != "" {
		t.Errorf("second run with the same seed (-first +second):\n%s", diff)
	}
}

// TestPauseInPlan: a planned pause delays, and every byte still arrives.
func TestPauseInPlan(t *testing.T) {
	p := start(t, Config{Target: echo(t), Plan: Plan{Seed: 1, Every: 1000, Kinds: []Kind{Pause}, Pause: time.Millisecond, Max: 20}})
	c := dial(t, p)
	sent := random(100_000)
	var wg sync.WaitGroup
	wg.Go(func() { c.Write(sent); c.(*net.TCPConn).CloseWrite() })
	got, err := io.ReadAll(c)
	wg.Wait()
	if err != nil || !bytes.Equal(got, sent) {
		t.Errorf("got %d bytes, %v; want the %d sent", len(got), err, len(sent))
	}
	if n := len(p.Faults()); n != 20 {
		t.Errorf("%d faults, want 20", n)
	}
}

// TestCloseLeavesNothing: connections in every state end with the proxy.
func TestCloseLeavesNothing(t *testing.T) {
	p, err := Start(Config{Target: echo(t), Link: Link{Delay: time.Minute}})
	if err != nil {
		t.Fatal(err)
	}
	q, err := Start(Config{Target: echo(t)})
	if err != nil {
		t.Fatal(err)
	}
	dial(t, p) // waits for its round trip
	c := dial(t, q)
	ping(t, c)
	q.Stall()
	q.Vanish()
	for _, x := range []*Proxy{p, q} {
		if err := x.Close(); err != nil {
			t.Error(err)
		}
	}
	// The proxies of other tests are closed too: no test here runs beside another.
	stacks := make([]byte, 1<<20)
	stacks = stacks[:runtime.Stack(stacks, true)]
	if strings.Contains(string(stacks), "faultproxy.(*conn).") || strings.Contains(string(stacks), "faultproxy.(*Proxy).") {
		t.Errorf("goroutines of a closed proxy:\n%s", stacks)
	}
}

func start(t *testing.T, cfg Config) *Proxy {
	t.Helper()
	p, err := Start(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

func dial(t *testing.T, p *Proxy) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", p.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	return c
}

// echo serves connections that get back what they send.
func echo(t *testing.T) string {
	t.Helper()
	return serve(t, func(c *net.TCPConn) { io.Copy(c, c); c.CloseWrite() })
}

// discard serves connections that are read to their end and then closed.
func discard(t *testing.T) string {
	t.Helper()
	return serve(t, func(c *net.TCPConn) { io.Copy(io.Discard, c) })
}

func serve(t *testing.T, handle func(*net.TCPConn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { defer c.Close(); handle(c.(*net.TCPConn)) })
		}
	})
	// Cleanups run last to first: the proxy is closed by then, and its connections with it.
	t.Cleanup(func() { l.Close(); wg.Wait() })
	return l.Addr().String()
}

func ping(t *testing.T, c net.Conn) {
	t.Helper()
	if _, err := c.Write([]byte("ping")); err != nil {
		t.Fatal(err)
	}
	want(t, c, "ping")
}

func want(t *testing.T, c net.Conn, text string) {
	t.Helper()
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, len(text))
	if _, err := io.ReadFull(c, b); err != nil || string(b) != text {
		t.Fatalf("read %q, %v; want %q", b, err, text)
	}
}

func random(n int) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{1}).Read(b)
	return b
}
