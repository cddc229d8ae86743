//go:build unix

package reach_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"

	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/reach"
	"outrigger.dev/outrigger/test/sshd"
)

func TestListenOnTheMachine(t *testing.T) {
	noLeaks(t)
	s := sshd.Start(t, sshd.Options{})
	c := dial(t, s.Endpoint(), reach.Options{})
	ln, err := c.Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	accepted := make(chan error)
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				accepted <- err
				return
			}
			_, _ = io.Copy(conn, conn)
			conn.Close()
		}
	}()
	conn, err := c.DialContext(t.Context(), "tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "there and back"); err != nil {
		t.Fatal(err)
	}
	if err := conn.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(conn); string(got) != "there and back" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
	if _, err := c.Listen(t.Context(), ln.Addr().String()); !fault.Is(err, fault.Busy) || !strings.Contains(err.Error(), "is taken") {
		t.Errorf("a port that is taken: %v", err)
	}
	if err := ln.Close(); err != nil {
		t.Error(err)
	}
	if err := <-accepted; !errors.Is(err, net.ErrClosed) {
		t.Errorf("Accept after Close: %v", err)
	}
	if _, err := c.DialContext(t.Context(), "tcp", ln.Addr().String()); !errors.Is(err, reach.ErrNoAnswer) || !fault.Is(err, fault.Unreachable) {
		t.Errorf("nobody listens: %v", err)
	}
}

// What was cut off must not look like what ended.
func TestForwardsOfALostMachine(t *testing.T) {
	noLeaks(t)
	s := sshd.Start(t, sshd.Options{})
	c := dial(t, s.Endpoint(), reach.Options{})
	ln, err := c.Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	conn, err := c.DialContext(t.Context(), "tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	other, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	s.Kill()
	for name, conn := range map[string]net.Conn{"dialled": conn, "accepted": other} {
		if _, err := conn.Read(make([]byte, 1)); !fault.Is(err, fault.Unreachable) {
			t.Errorf("%s: read %v", name, err)
		}
	}
	if _, err := ln.Accept(); !fault.Is(err, fault.Unreachable) {
		t.Errorf("accept: %v", err)
	}
	if err := ln.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
}

func TestForwardingForbidden(t *testing.T) {
	noLeaks(t)
	for _, line := range []string{"AllowTcpForwarding no", "DisableForwarding yes"} {
		s := sshd.Start(t, sshd.Options{Lines: []string{line}})
		c := dial(t, s.Endpoint(), reach.Options{})
		_, listen := c.Listen(t.Context(), "127.0.0.1:0")
		_, fixed := c.Listen(t.Context(), "127.0.0.1:12345")
		_, connect := c.DialContext(t.Context(), "tcp", fmt.Sprintf("127.0.0.1:%d", s.Port))
		for _, err := range []error{listen, fixed, connect} {
			if !errors.Is(err, reach.ErrForbidden) || !fault.Is(err, fault.Config) || !strings.Contains(fault.Remedy(err), "AllowTcpForwarding yes") {
				t.Errorf("%s: %v", line, err)
			}
		}
	}
}
