package reach_test

import (
	"context"
	"io"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"outrigger.dev/outrigger/internal/machine"
	"outrigger.dev/outrigger/internal/reach"
)

// await waits for a fact.
func await(t *testing.T, what string, fact func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !fact(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain until %s", what)
		}
	}
}

// noLeaks checks, when the test has ended, that it left no goroutine of ours behind.
func noLeaks(t *testing.T) {
	t.Helper()
	t.Cleanup(func() {
		var left string
		await(t, "no goroutine is left", func() bool {
			buf := make([]byte, 1<<20)
			buf = buf[:runtime.Stack(buf, true)]
			left = ""
			for _, g := range strings.Split(string(buf), "\n\n")[1:] { // the first is this one
				if strings.Contains(g, "/internal/reach.") || strings.Contains(g, "x/crypto/ssh") {
					left += g + "\n\n"
				}
			}
			if left != "" && time.Now().UnixNano()%100 == 0 {
				t.Log(left)
			}
			return left == ""
		})
	})
}

// dial connects and closes with the test.
func dial(t *testing.T, ep machine.Endpoint, o reach.Options) *reach.Client {
	t.Helper()
	c, err := reach.Dial(t.Context(), ep, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// output runs command and returns what it printed.
func output(t *testing.T, c *reach.Client, command string) string {
	t.Helper()
	out, exit, err := c.Output(t.Context(), command, nil)
	if err != nil || exit != 0 {
		t.Fatalf("%s: exit %d, %v", command, exit, err)
	}
	return strings.TrimSpace(string(out))
}

// A stallingProxy forwards to a server until it is told to stall: then it
// accepts bytes and forwards none, as a pulled cable looks from here.
type stallingProxy struct {
	ln      net.Listener
	to      string
	stalled chan struct{}
	wg      sync.WaitGroup
}

func newStallingProxy(t *testing.T, to string) *stallingProxy {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &stallingProxy{ln: ln, to: to, stalled: make(chan struct{})}
	ctx, cancel := context.WithCancel(context.Background())
	p.wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			p.wg.Go(func() { p.forward(ctx, c) })
		}
	})
	t.Cleanup(func() {
		ln.Close()
		cancel()
		p.wg.Wait()
	})
	return p
}

func (p *stallingProxy) forward(ctx context.Context, near net.Conn) {
	defer near.Close()
	far, err := net.Dial("tcp", p.to)
	if err != nil {
		return
	}
	defer far.Close()
	stop := context.AfterFunc(ctx, func() { near.Close(); far.Close() })
	defer stop()
	var wg sync.WaitGroup
	pipe := func(to io.Writer, from io.Reader) {
		b := make([]byte, 32<<10)
		for {
			n, err := from.Read(b)
			select {
			case <-p.stalled:
				_, _ = io.Copy(io.Discard, from)
				return
			default:
			}
			if err != nil {
				near.Close()
				far.Close()
				return
			}
			if _, err := to.Write(b[:n]); err != nil {
				return
			}
		}
	}
	wg.Go(func() { pipe(far, near) })
	wg.Go(func() { pipe(near, far) })
	wg.Wait()
}

func (p *stallingProxy) endpoint(ep machine.Endpoint) machine.Endpoint {
	a := p.ln.Addr().(*net.TCPAddr)
	ep.Host, ep.Port = a.IP.String(), a.Port
	return ep
}
