package forward_test

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand"
	"net"
	"strings"
	"sync"
	"testing"

	"outrigger.dev/outrigger/internal/forward"
)

// freePort returns a port that is free here and on the machine.
func freePort(t *testing.T) int {
	t.Helper()
	port, stop := serveHere(t, echo)
	stop()
	return port
}

func TestInIsOpenWhileTheMachineServes(t *testing.T) {
	for _, host := range []string{"127.0.0.1", "[::1]"} {
		t.Run(host, func(t *testing.T) {
			m := newMachine(t)
			port := freePort(t)
			m.start(forward.Config{}, []forward.In{{Port: port, Name: "web"}, {Port: port}}, nil, false)
			if open(port) {
				t.Fatal("open before anybody serves it")
			}
			for range 2 {
				_, stop := m.serve(fmt.Sprintf("%s:%d", host, port), echo)
				await(t, "the port opens", func() bool { return open(port) })
				if got, err := ask(dialHere(t, port), "hello"); got != "hello" || err != nil {
					t.Errorf("got %q, %v", got, err)
				}
				stop()
				// The one who finds out is reset.
				if got, err := ask(dialHere(t, port), "hello"); err == nil {
					t.Errorf("got %q from a server that has ended", got)
				}
				await(t, "the port closes", func() bool { return !open(port) })
			}
		})
	}
}

func TestInThousandConnections(t *testing.T) {
	m := newMachine(t)
	port, _ := m.serve("127.0.0.1:0", echo)
	m.start(forward.Config{}, []forward.In{{Port: port}}, nil, false)
	await(t, "the port opens", func() bool { return open(port) })
	var wg sync.WaitGroup
	for w := range 10 {
		wg.Go(func() {
			for i := range 100 {
				c, err := net.Dial("tcp4", fmt.Sprintf("127.0.0.1:%d", port))
				if err != nil {
					t.Error(err)
					return
				}
				want := fmt.Sprintf("%d/%d", w, i)
				if got, err := ask(c.(*net.TCPConn), want); got != want || err != nil {
					t.Errorf("got %q, %v, want %q", got, err, want)
				}
				c.Close()
			}
		})
	}
	wg.Wait()
}

// A server that reads to the end before it answers, with more than any buffer holds.
func TestInHalfClose(t *testing.T) {
	m := newMachine(t)
	port, _ := m.serve("127.0.0.1:0", func(c *net.TCPConn) {
		b, err := io.ReadAll(c)
		if err == nil {
			fmt.Fprintf(c, "%x", sha256.Sum256(b))
		}
	})
	m.start(forward.Config{}, []forward.In{{Port: port}}, nil, false)
	await(t, "the port opens", func() bool { return open(port) })
	data := strings.Repeat("0123456789abcdef", 1<<18)
	want := fmt.Sprintf("%x", sha256.Sum256([]byte(data)))
	if got, err := ask(dialHere(t, port), data); got != want || err != nil {
		t.Errorf("got %q, %v, want %q", got, err, want)
	}
}

func TestHundredMegabytesBothWays(t *testing.T) {
	m := newMachine(t)
	back, _ := serveHere(t, echo)
	port, _ := m.serve("127.0.0.1:0", echo)
	out := freePort(t)
	m.start(forward.Config{}, []forward.In{{Port: port}}, []forward.Out{{Port: out, To: fmt.Sprintf("127.0.0.1:%d", back)}}, false)
	await(t, "the port opens", func() bool { return open(port) })
	far, err := m.dial(out)
	if err != nil {
		t.Fatal(err)
	}
	const size = 100 << 20
	for name, c := range map[string]*net.TCPConn{"in": dialHere(t, port), "out": far} {
		var wg sync.WaitGroup
		sent, got := sha256.New(), sha256.New()
		wg.Go(func() {
			if _, err := io.Copy(c, io.TeeReader(io.LimitReader(rand.New(rand.NewSource(1)), size), sent)); err != nil {
				t.Error(err)
			}
			c.CloseWrite()
		})
		n, err := io.Copy(got, c)
		wg.Wait()
		if n != size || err != nil || !bytes.Equal(sent.Sum(nil), got.Sum(nil)) {
			t.Errorf("%s: %d bytes of %d came back, %v, the same: %v", name, n, size, err, bytes.Equal(sent.Sum(nil), got.Sum(nil)))
		}
	}
}

func TestInPortTakenInThePod(t *testing.T) {
	m := newMachine(t)
	port, stop := serveHere(t, echo)
	m.serve(fmt.Sprintf("127.0.0.1:%d", port), func(c *net.TCPConn) { io.WriteString(c, "machine") })
	warned := make(chan string, 10)
	m.start(forward.Config{Warn: func(s string) { warned <- s }}, []forward.In{{Port: port, Name: "web"}}, nil, false)
	if w := <-warned; !strings.Contains(w, fmt.Sprintf("port %d (web)", port)) || !strings.Contains(w, "in use") {
		t.Errorf("warned: %s", w)
	}
	stop()
	await(t, "the port is ours", func() bool {
		c, err := net.Dial("tcp4", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			return false
		}
		defer c.Close()
		b, err := io.ReadAll(c)
		return err == nil && string(b) == "machine"
	})
	if len(warned) > 0 {
		t.Errorf("warned again: %s", <-warned)
	}
}

func TestInForbidden(t *testing.T) {
	m := newMachine(t, "AllowTcpForwarding no")
	warned := make(chan string, 10)
	m.start(forward.Config{Warn: func(s string) { warned <- s }}, []forward.In{{Port: freePort(t), Name: "web"}}, nil, false)
	if w := <-warned; !strings.Contains(w, "AllowTcpForwarding yes") || !strings.Contains(w, "(web)") {
		t.Errorf("warned: %s", w)
	}
}

// A client that goes away in the middle ends the server's side.
func TestInClientGoesAway(t *testing.T) {
	m := newMachine(t)
	ended := make(chan error, 100)
	port, _ := m.serve("127.0.0.1:0", func(c *net.TCPConn) {
		if n, _ := c.Read(make([]byte, 1)); n == 1 {
			_, err := io.Copy(io.Discard, c)
			ended <- err
		}
	})
	m.start(forward.Config{}, []forward.In{{Port: port}}, nil, false)
	await(t, "the port opens", func() bool { return open(port) })
	c := dialHere(t, port)
	io.WriteString(c, "x")
	c.SetLinger(0)
	c.Close()
	<-ended
}

func TestInIsCutAndMadeAgain(t *testing.T) {
	m := newMachine(t)
	port, _ := m.serve("127.0.0.1:0", echo)
	m.start(forward.Config{}, []forward.In{{Port: port}}, nil, false)
	await(t, "the port opens", func() bool { return open(port) })
	c := dialHere(t, port)
	io.WriteString(c, "half")
	if _, err := io.ReadFull(c, make([]byte, 4)); err != nil {
		t.Fatal(err)
	}
	m.line.Cut()
	if n, err := c.Read(make([]byte, 1)); !wasReset(err) {
		t.Errorf("a connection in flight read %d, %v, want a reset", n, err)
	}
	await(t, "the port is open again", func() bool {
		c, err := net.Dial("tcp4", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			return false
		}
		defer c.Close()
		got, err := ask(c.(*net.TCPConn), "again")
		return got == "again" && err == nil
	})
}

func TestInEndsWithClose(t *testing.T) {
	m := newMachine(t)
	port, _ := m.serve("127.0.0.1:0", echo)
	f := m.start(forward.Config{}, []forward.In{{Port: port}}, nil, false)
	await(t, "the port opens", func() bool { return open(port) })
	c := dialHere(t, port)
	io.WriteString(c, "x")
	if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	f.Close()
	if open(port) {
		t.Error("open after Close")
	}
	if _, err := c.Read(make([]byte, 1)); !wasReset(err) {
		t.Errorf("got %v, want a reset", err)
	}
	f.Close() // twice is once
}

func TestLimit(t *testing.T) {
	m := newMachine(t)
	port, _ := m.serve("127.0.0.1:0", echo)
	warned := make(chan string, 10)
	m.start(forward.Config{Warn: func(s string) { warned <- s }}, []forward.In{{Port: port}}, nil, false)
	await(t, "the port opens", func() bool { return open(port) })
	refused := 0
	var held []net.Conn
	for range 520 {
		c, err := hold(port)
		if err != nil {
			refused++
			continue
		}
		held = append(held, c)
	}
	if len(held) > 512 || refused < 8 {
		t.Errorf("%d held, %d refused", len(held), refused)
	}
	if w := <-warned; !strings.Contains(w, "512") {
		t.Errorf("warned: %s", w)
	}
	for _, c := range held {
		c.Close()
	}
	await(t, "there is room again", func() bool {
		c, err := hold(port)
		if err == nil {
			c.Close()
		}
		return err == nil
	})
}

// hold returns a connection that the machine's server has answered.
func hold(port int) (net.Conn, error) {
	c, err := net.Dial("tcp4", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		return nil, err
	}
	_, err = io.WriteString(c, "x")
	if err == nil {
		_, err = io.ReadFull(c, make([]byte, 1))
	}
	if err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// What the server said last arrives although it did not read all that was sent.
func TestInServerEndsEarly(t *testing.T) {
	m := newMachine(t)
	answer := strings.Repeat("too large\n", 1000)
	port, _ := m.serve("127.0.0.1:0", func(c *net.TCPConn) {
		io.ReadFull(c, make([]byte, 10))
		io.WriteString(c, answer)
		c.CloseWrite()
		io.Copy(io.Discard, c)
	})
	m.start(forward.Config{}, []forward.In{{Port: port}}, nil, false)
	await(t, "the port opens", func() bool { return open(port) })
	c := dialHere(t, port)
	go func() { // ends with the connection
		for {
			if _, err := c.Write(make([]byte, 32<<10)); err != nil {
				return
			}
		}
	}()
	if got, err := io.ReadAll(c); string(got) != answer || err != nil {
		t.Errorf("%d bytes of %d came, %v", len(got), len(answer), err)
	}
}
