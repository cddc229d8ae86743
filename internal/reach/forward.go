package reach

import (
	"context"
	"errors"
	"io"
	"net"
	"strconv"
	"time"

	"golang.org/x/crypto/ssh"

	"outrigger.dev/outrigger/internal/fault"
)

// What a caller must tell apart when the machine makes no connection or listener.
var (
	ErrForbidden = errors.New("the SSH server does not allow it")
	ErrNoAnswer  = errors.New("nobody answers there")
)

// DialContext connects to address through the machine, as seen from there.
// ctx bounds the opening only. The connection has CloseWrite but no deadlines;
// it reads io.EOF only if the other side ended it, else why the machine was lost.
//
// Faults: Unreachable, with [ErrNoAnswer] in the chain if the machine tried in
// vain; Config with [ErrForbidden] if the SSH server forbids it.
func (c *Client) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := c.link.ssh.DialContext(ctx, network, address)
	if err == nil {
		return &farConn{conn.(halfCloser), c}, nil
	}
	var refused *ssh.OpenChannelError
	if errors.As(err, &refused) && refused.Reason == ssh.Prohibited {
		return nil, c.forbidden("a connection to " + address + ": " + refused.Message)
	}
	if errors.As(err, &refused) && refused.Reason == ssh.ConnectionFailed {
		return nil, fault.New(fault.Unreachable, "%s from %s: %w", address, c.link.where, also{errors.New(refused.Message), ErrNoAnswer})
	}
	return nil, fault.New(fault.Unreachable, "%s from %s: %w", address, c.link.where, c.explain(err))
}

// Listen makes the machine listen on address, an IP address and a port, 0 for
// one of the machine's choice. Only what connects from the machine itself is
// accepted, even if the SSH server listens on all its addresses ("GatewayPorts
// yes"). Accept must be called until it fails: until then a connection that
// nobody takes holds up all others. When the machine is lost, it fails with
// the reason.
//
// Faults: Busy if the port is taken, Config with [ErrForbidden] in the chain if
// the SSH server forbids listening, Unreachable.
func (c *Client) Listen(ctx context.Context, address string) (net.Listener, error) {
	ln, err := c.listen(ctx, address)
	if err == nil {
		return &farListener{ln, c}, nil
	}
	if why := c.broken(); why != nil || ctx.Err() != nil {
		return nil, fault.New(fault.Unreachable, "listen on %s of %s: %w", address, c.link.where, c.explain(err))
	}
	host, port, cut := net.SplitHostPort(address)
	number, bad := strconv.Atoi(port)
	if cut != nil || bad != nil {
		return nil, fault.New(fault.Internal, "listen on %q: not an address with a port", address)
	}
	// The refusal has no reason in it. Whether another port may be had tells.
	if number != 0 {
		if other, err := c.listen(ctx, net.JoinHostPort(host, "0")); err == nil {
			other.Close()
			text := "is taken"
			if number < 1024 {
				text = "is taken, or may only be had by root"
			}
			return nil, fault.New(fault.Busy, "port %d of %s %s", number, c.link.where, text)
		}
	}
	return nil, c.forbidden("listening on " + address)
}

// listen asks once and gives up when ctx ends.
func (c *Client) listen(ctx context.Context, address string) (net.Listener, error) {
	type made struct {
		ln  net.Listener
		err error
	}
	got := make(chan made)
	// The package cannot cancel it. The goroutine ends when the machine
	// answers or the connection ends, whichever is first.
	go func() {
		ln, err := c.link.ssh.Listen("tcp", address)
		select {
		case got <- made{ln, err}:
		case <-ctx.Done():
			if err == nil {
				ln.Close()
			}
		}
	}()
	select {
	case m := <-got:
		return m.ln, m.err
	case <-ctx.Done():
		return nil, c.gaveUp(ctx)
	}
}

func (c *Client) forbidden(what string) error {
	return fault.New(fault.Config, "%s: no %s: %w", c.link.where, what, ErrForbidden).
		WithRemedy("Set AllowTcpForwarding yes in the machine's sshd_config, and look for DisableForwarding, PermitOpen and PermitListen there.")
}

// broken returns why the connection is over, or is about to be: nil while it is well.
func (c *Client) broken() error {
	if why := c.Err(); why != nil {
		return why
	}
	if broke := c.link.conn.err(); broke != nil {
		return fault.New(fault.Unreachable, "%s: connection lost: %w", c.link.where, reason(broke))
	}
	return nil
}

// A halfCloser can end one direction alone, as all connections of the SSH package can.
type halfCloser interface {
	net.Conn
	CloseWrite() error
}

// A farConn is a connection on the machine.
type farConn struct {
	halfCloser
	c *Client
}

// Read implements [net.Conn]. The SSH package ends a channel with io.EOF also
// when the connection broke, which would make a part look like the whole.
func (f *farConn) Read(b []byte) (int, error) {
	n, err := f.halfCloser.Read(b)
	if errors.Is(err, io.EOF) {
		if why := f.c.broken(); why != nil {
			return n, why
		}
	}
	return n, err
}

// A farListener is a listener on the machine.
type farListener struct {
	net.Listener
	c *Client
}

// Accept implements [net.Listener].
func (l *farListener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if errors.Is(err, io.EOF) {
			if why := l.c.broken(); why != nil {
				return nil, why
			}
			return nil, net.ErrClosed
		}
		if err != nil {
			continue // that one went away; when the machine did, io.EOF comes next
		}
		if from, ok := conn.RemoteAddr().(*net.TCPAddr); !ok || !from.IP.IsLoopback() {
			l.c.log.Warn("refused a connection from outside the machine: its SSH server has GatewayPorts yes", "from", conn.RemoteAddr())
			conn.Close()
			continue
		}
		return &farConn{conn.(halfCloser), l.c}, nil
	}
}

// closeLimit is how long the end of a listener may take. Later the end of the
// connection ends it.
const closeLimit = 5 * time.Second

// Close implements [net.Listener].
func (l *farListener) Close() error {
	done := make(chan error, 1)
	go func() { done <- l.Listener.Close() }()
	select {
	case err := <-done:
		if l.c.broken() != nil {
			return nil
		}
		return err
	case <-time.After(closeLimit):
		return fault.New(fault.Unreachable, "%s: no answer to the end of a listener", l.c.link.where)
	}
}
