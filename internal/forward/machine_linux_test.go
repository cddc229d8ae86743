package forward_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"outrigger.dev/outrigger/internal/forward"
	"outrigger.dev/outrigger/internal/host"
	"outrigger.dev/outrigger/test/faultproxy"
	"outrigger.dev/outrigger/test/sshd"
)

// A machine is a network of its own with an SSH server. This process is the Pod.
type machine struct {
	t    *testing.T
	net  *sshd.Network
	sshd *sshd.Server
	line *faultproxy.Proxy // between the Pod and the machine
	host *host.Host
}

func newMachine(t *testing.T, lines ...string) *machine {
	t.Helper()
	network := sshd.NewNetwork(t)
	noLeaks(t)
	m := &machine{t: t, net: network}
	m.sshd = sshd.Start(t, sshd.Options{Lines: lines, Net: network.Path()})
	ep := m.sshd.Endpoint()
	var err error
	m.line, err = faultproxy.Start(faultproxy.Config{Target: ep.Address()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.line.Close() })
	ep.Port = m.line.Port()
	if m.host, err = host.Dial(t.Context(), host.Config{Endpoint: ep}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.host.Close() })
	return m
}

// start begins to forward; what is warned of is an error unless the test takes it.
func (m *machine) start(cfg forward.Config, ins []forward.In, outs []forward.Out, proxy bool) *forward.Forwarder {
	m.t.Helper()
	if cfg.Warn == nil {
		cfg.Warn = func(text string) { m.t.Errorf("warned: %s", text) }
	}
	var p *forward.Proxy
	if proxy {
		p = &forward.Proxy{}
	}
	return m.startWith(cfg, ins, outs, p)
}

func (m *machine) startWith(cfg forward.Config, ins []forward.In, outs []forward.Out, proxy *forward.Proxy) *forward.Forwarder {
	m.t.Helper()
	cfg.Client = m.host.Client
	f, err := forward.Start(m.t.Context(), cfg, ins, outs, proxy)
	if err != nil {
		m.t.Fatal(err)
	}
	m.t.Cleanup(func() { f.Close() })
	return f
}

// serve answers each connection to address on the machine until the returned
// function is called.
func (m *machine) serve(address string, answer func(*net.TCPConn)) (port int, stop func()) {
	m.t.Helper()
	var ln net.Listener
	var err error
	m.net.Do(func() { ln, err = net.Listen("tcp", address) })
	if err != nil {
		m.t.Fatal(err)
	}
	return serve(m.t, ln, answer)
}

// dial connects from a program on the machine.
func (m *machine) dial(port int) (conn *net.TCPConn, err error) {
	m.net.Do(func() {
		var c net.Conn
		if c, err = net.Dial("tcp4", fmt.Sprintf("127.0.0.1:%d", port)); err == nil {
			conn = c.(*net.TCPConn)
			m.t.Cleanup(func() { c.Close() })
		}
	})
	return conn, err
}

// listener tells one listening socket on a port of the machine's loopback from
// the next; "" if there is none.
func (m *machine) listener(port int) (inode string) {
	m.t.Helper()
	var table []byte
	var err error
	m.net.Do(func() { table, err = os.ReadFile("/proc/thread-self/net/tcp") })
	if err != nil {
		m.t.Fatal(err)
	}
	for line := range strings.Lines(string(table)) {
		f := strings.Fields(line)
		if len(f) > 9 && f[1] == fmt.Sprintf("0100007F:%04X", port) && f[3] == "0A" {
			return f[9]
		}
	}
	return ""
}

// run executes a command in the machine's network and returns what it printed.
func (m *machine) run(env []string, command ...string) (string, error) {
	cmd := exec.CommandContext(m.t.Context(), "nsenter", append([]string{"--net=" + m.net.Path()}, command...)...)
	cmd.Env = append(os.Environ(), env...)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// serveHere answers on the Pod's loopback, or the cluster, which is the same here.
func serveHere(t *testing.T, answer func(*net.TCPConn)) (port int, stop func()) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return serve(t, ln, answer)
}

func serve(t *testing.T, ln net.Listener, answer func(*net.TCPConn)) (port int, stop func()) {
	var wg sync.WaitGroup
	var mu sync.Mutex
	conns := map[net.Conn]bool{}
	wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			conns[c] = true
			mu.Unlock()
			wg.Go(func() {
				answer(c.(*net.TCPConn))
				c.Close()
				mu.Lock()
				delete(conns, c)
				mu.Unlock()
			})
		}
	})
	stop = sync.OnceFunc(func() {
		ln.Close()
		mu.Lock()
		for c := range conns {
			c.Close()
		}
		mu.Unlock()
		wg.Wait()
	})
	t.Cleanup(stop)
	return ln.Addr().(*net.TCPAddr).Port, stop
}

// echo sends everything back as it comes.
func echo(c *net.TCPConn) { _, _ = io.Copy(c, c) }

// dialHere connects in the Pod.
func dialHere(t *testing.T, port int) *net.TCPConn {
	t.Helper()
	c, err := net.Dial("tcp4", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c.(*net.TCPConn)
}

// open tells whether a probe finds the Pod's port open.
func open(port int) bool {
	c, err := net.Dial("tcp4", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		return false
	}
	c.Close()
	return true
}

// ask sends text, ends, and returns all of the answer.
func ask(c *net.TCPConn, text string) (string, error) {
	if _, err := io.WriteString(c, text); err != nil {
		return "", err
	}
	if err := c.CloseWrite(); err != nil {
		return "", err
	}
	b, err := io.ReadAll(c)
	return string(b), err
}

// await waits for a fact.
func await(t *testing.T, what string, fact func() bool) {
	t.Helper()
	for end := time.Now().Add(60 * time.Second); !fact(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain until %s", what)
		}
	}
}

// noLeaks checks, when the test has ended, that no goroutine of ours is left.
func noLeaks(t *testing.T) {
	t.Helper()
	t.Cleanup(func() {
		var left string
		defer func() {
			if left != "" {
				t.Log(left)
			}
		}()
		await(t, "no goroutine is left", func() bool {
			buf := make([]byte, 4<<20)
			buf = buf[:runtime.Stack(buf, true)]
			left = ""
			for _, g := range strings.Split(string(buf), "\n\n")[1:] { // the first is this one
				if strings.Contains(g, "/internal/forward.") || strings.Contains(g, "/internal/reach.") || strings.Contains(g, "x/crypto/ssh") {
					left += g + "\n\n"
				}
			}
			return left == ""
		})
	})
}

// cluster is a dial function that knows names which nobody else knows.
func cluster(names map[string]int) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		host, _, err := net.SplitHostPort(address)
		if err != nil {
			return nil, err
		}
		if port, ok := names[host]; ok {
			address = fmt.Sprintf("127.0.0.1:%d", port)
		} else if net.ParseIP(host) == nil {
			return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
		}
		return new(net.Dialer).DialContext(ctx, network, address)
	}
}

// wasReset tells whether err is how a reset connection reads.
func wasReset(err error) bool { return errors.Is(err, unix.ECONNRESET) }
