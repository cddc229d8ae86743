//go:build unix

package reach_test

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/machine"
	"outrigger.dev/outrigger/internal/reach"
	"outrigger.dev/outrigger/test/sshd"
)

// serveTCP answers each connection with serve and returns where.
func serveTCP(t *testing.T, serve func(net.Conn)) machine.Endpoint {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	var open []net.Conn
	wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			open = append(open, c)
			mu.Unlock()
			wg.Go(func() { serve(c); c.Close() })
		}
	})
	t.Cleanup(func() {
		ln.Close()
		mu.Lock()
		for _, c := range open {
			c.Close()
		}
		mu.Unlock()
		wg.Wait()
	})
	a := ln.Addr().(*net.TCPAddr)
	return machine.Endpoint{Host: a.IP.String(), Port: a.Port, User: "ci", HostKeys: []string{sshd.NewKey(t, "ed25519").Line()}}
}

func silent(c net.Conn) { _, _ = io.Copy(io.Discard, c) }

func TestDialUnreachable(t *testing.T) {
	noLeaks(t)
	closed := serveTCP(t, silent)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Port = ln.Addr().(*net.TCPAddr).Port
	ln.Close()

	for _, tt := range []struct {
		name string
		ep   machine.Endpoint
		is   error // in the chain
		says string
	}{
		{"nobody listens", closed, syscall.ECONNREFUSED, "connection refused"},
		{"no such name", machine.Endpoint{Host: "no-such-host.invalid", User: "ci"}, nil, `name "no-such-host.invalid"`},
		{"a port that accepts and says nothing", serveTCP(t, silent), nil, "said nothing"},
		{"a port that closes at once", serveTCP(t, func(net.Conn) {}), nil, "closed the connection before SSH began"},
		{"a web server", serveTCP(t, func(c net.Conn) {
			_, _ = io.WriteString(c, "HTTP/1.0 400 Bad Request\r\n\r\n"+strings.Repeat("x\n", 1000))
		}), nil, ""},
		{"a server that stops after its first words", serveTCP(t, func(c net.Conn) {
			_, _ = io.WriteString(c, "SSH-2.0-OpenSSH_9.2\r\n")
			silent(c)
		}), context.DeadlineExceeded, "no answer within 300ms"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, err := reach.Dial(t.Context(), tt.ep, reach.Options{Timeout: 300 * time.Millisecond, Insist: -1})
			if err == nil {
				c.Close()
			}
			if !fault.Is(err, fault.Unreachable) {
				t.Fatalf("kind %q, want Unreachable: %v", fault.Of(err), err)
			}
			if !strings.Contains(err.Error(), tt.says) || !strings.Contains(err.Error(), tt.ep.Address()) {
				t.Errorf("want %q and the address in: %v", tt.says, err)
			}
			if tt.is != nil && !errors.Is(err, tt.is) {
				t.Errorf("the cause is lost: %v", err)
			}
		})
	}
}

// sshd turns connections away before the login while many log in (MaxStartups): the machine is there.
func TestDialTriesAgainWhenTurnedAway(t *testing.T) {
	noLeaks(t)
	for _, tt := range []struct {
		name string
		turn func(net.Conn)
	}{
		{"at once", func(net.Conn) {}},
		{"with a word, as OpenSSH does", func(c net.Conn) { _, _ = io.WriteString(c, "Exceeded MaxStartups\r\n") }},
		{"after the first words", func(c net.Conn) { _, _ = io.WriteString(c, "SSH-2.0-OpenSSH_9.2\r\n") }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			server := sshd.Start(t, sshd.Options{})
			real := server.Endpoint().Address()
			var tries atomic.Int32
			ep := serveTCP(t, func(c net.Conn) {
				if tries.Add(1) <= 2 {
					tt.turn(c)
					return
				}
				to, err := net.Dial("tcp", real)
				if err != nil {
					t.Error(err)
					return
				}
				defer to.Close()
				go func() { _, _ = io.Copy(to, c); to.Close() }()
				_, _ = io.Copy(c, to)
			})
			through := server.Endpoint()
			through.Host, through.Port = ep.Host, ep.Port
			dial(t, through, reach.Options{}).Close()
			if n := tries.Load(); n != 3 {
				t.Errorf("%d tries, want 3", n)
			}
		})
	}
}

func TestDialEndsWithItsContext(t *testing.T) {
	noLeaks(t)
	ctx, cancel := context.WithCancel(t.Context())
	ep := serveTCP(t, func(c net.Conn) { cancel(); silent(c) })
	if _, err := reach.Dial(ctx, ep, reach.Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want a cancelled context", err)
	}
}

func TestDialThroughJumpHosts(t *testing.T) {
	noLeaks(t)
	outer, middle, inner := sshd.Start(t, sshd.Options{}), sshd.Start(t, sshd.Options{}), sshd.Start(t, sshd.Options{})
	ep := inner.Endpoint()
	ep.Jumps = []machine.Endpoint{outer.Endpoint(), middle.Endpoint()}
	c := dial(t, ep, reach.Options{})
	if got := output(t, c, "echo $SSH_CONNECTION"); !strings.HasPrefix(got, "127.0.0.1 ") {
		t.Errorf("connection %q", got)
	}
	if n := []int{outer.Connections(), middle.Connections(), inner.Connections()}; n[0] != 1 || n[1] != 1 || n[2] != 1 {
		t.Errorf("connections %v, want one at each host", n)
	}
	c.Close()
	await(t, "the jump hosts are left", func() bool { return outer.Connections()+middle.Connections()+inner.Connections() == 0 })
}

func TestJumpHostsFail(t *testing.T) {
	noLeaks(t)
	jump, closed, machineHost := sshd.Start(t, sshd.Options{}), sshd.Start(t, sshd.Options{Lines: []string{"AllowTcpForwarding no"}}), sshd.Start(t, sshd.Options{})
	stopped := sshd.Start(t, sshd.Options{})
	stopped.Stop()
	wrongKey := jump.Endpoint()
	wrongKey.HostKeys = machineHost.Endpoint().HostKeys
	stranger := jump.Endpoint()
	stranger.Auth.Keys = []machine.Secret{sshd.NewKey(t, "ed25519").Secret()}
	for _, tt := range []struct {
		name string
		jump machine.Endpoint
		to   machine.Endpoint
		kind fault.Kind
		says string
	}{
		{"the jump host is away", stopped.Endpoint(), machineHost.Endpoint(), fault.Unreachable, stopped.Endpoint().Address() + ": connection refused"},
		{"the jump host is another", wrongKey, machineHost.Endpoint(), fault.HostKey, jump.Endpoint().Address() + ": host key"},
		{"the jump host refuses the login", stranger, machineHost.Endpoint(), fault.AuthRefused, jump.Endpoint().Address() + ": login"},
		{"the jump host does not forward", closed.Endpoint(), machineHost.Endpoint(), fault.Unreachable, "does not allow forwarding"},
		{"the machine behind it is away", jump.Endpoint(), stopped.Endpoint(), fault.Unreachable, "the jump host cannot connect"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ep := tt.to
			ep.Jumps = []machine.Endpoint{tt.jump}
			c, err := reach.Dial(t.Context(), ep, reach.Options{})
			if err == nil {
				c.Close()
			}
			if !fault.Is(err, tt.kind) || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("want a fault of kind %s with %q, got %s: %v", tt.kind, tt.says, fault.Of(err), err)
			}
		})
	}
}

func TestWaitForAMachineThatBoots(t *testing.T) {
	noLeaks(t)
	s := sshd.Start(t, sshd.Options{})
	s.Stop()
	// As a virtual machine looks from outside: refused, then accepted by a
	// forwarder with nobody behind it, then there.
	proxied := s.Endpoint()
	var mu sync.Mutex
	tries := 0
	ep := serveTCP(t, func(c net.Conn) {
		mu.Lock()
		tries++
		now := tries
		mu.Unlock()
		switch {
		case now <= 2:
			silent(c)
		case now <= 4:
			return
		case now == 5:
			s.Restart()
		}
		far, err := net.Dial("tcp", proxied.Address())
		if err != nil {
			return
		}
		defer far.Close()
		go func() {
			_, _ = io.Copy(far, c)
			far.Close()
		}()
		_, _ = io.Copy(c, far)
	})
	ep.User, ep.Auth, ep.HostKeys = proxied.User, proxied.Auth, proxied.HostKeys
	c, err := reach.Wait(t.Context(), ep, reach.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	output(t, c, "true")
}

func TestWaitThroughAJumpHostThatGoesAway(t *testing.T) {
	noLeaks(t)
	jump, s := sshd.Start(t, sshd.Options{}), sshd.Start(t, sshd.Options{})
	s.Stop()
	go func() {
		for jump.Connections() == 0 {
			time.Sleep(time.Millisecond)
		}
		jump.Kill()
		s.Restart()
	}()
	ep := s.Endpoint()
	ep.Jumps = []machine.Endpoint{jump.Endpoint()}
	c, err := reach.Wait(t.Context(), ep, reach.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	output(t, c, "true")
}

func TestWaitGivesUp(t *testing.T) {
	noLeaks(t)
	s := sshd.Start(t, sshd.Options{})
	stranger, wrong := s.Endpoint(), s.Endpoint()
	stranger.Auth.Keys = []machine.Secret{sshd.NewKey(t, "ed25519").Secret()}
	wrong.HostKeys = []string{sshd.NewKey(t, "ed25519").Line()}
	if _, err := reach.Wait(t.Context(), stranger, reach.Options{}); !fault.Is(err, fault.AuthRefused) {
		t.Errorf("got %v, want AuthRefused at once", err)
	}
	if _, err := reach.Wait(t.Context(), wrong, reach.Options{}); !fault.Is(err, fault.HostKey) {
		t.Errorf("got %v, want HostKey at once", err)
	}
	s.Stop()
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	_, err := reach.Wait(ctx, s.Endpoint(), reach.Options{})
	if !fault.Is(err, fault.Unreachable) || !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("want Unreachable with the last refusal and the deadline in it, got %v", err)
	}
}
