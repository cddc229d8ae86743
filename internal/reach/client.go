package reach

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"

	"outrigger.dev/outrigger/internal/fault"
)

// A Client is a connection to a machine. Its methods may be called at once.
type Client struct {
	link  *link
	route route
	log   *slog.Logger
	done  chan struct{}

	mu  sync.Mutex
	err error // why it ended, or is about to
}

func newClient(l *link, r route) *Client {
	c := &Client{link: l, route: r, log: r.opts.Log, done: make(chan struct{})}
	go c.watch()
	if r.opts.Keepalive > 0 {
		go c.keepalive(r.opts.Keepalive, r.opts.KeepaliveMisses)
	}
	return c
}

// watch ends what belongs to the connection when the connection ends.
func (c *Client) watch() {
	err := c.link.ssh.Wait()
	if broke := c.link.conn.err(); broke != nil {
		err = broke
	}
	if err == nil {
		err = io.EOF
	}
	c.fail(fault.New(fault.Unreachable, "%s: connection lost: %w", c.link.where, reason(err)))
	c.route.close()
	close(c.done)
}

// fail closes the connection for this reason, if it is the first.
func (c *Client) fail(err error) {
	c.mu.Lock()
	first := c.err == nil
	if first {
		c.err = err
	}
	c.mu.Unlock()
	if !first {
		return
	}
	if !errors.Is(err, net.ErrClosed) {
		c.log.Debug("connection ended", "host", c.link.where, "error", err)
	}
	c.link.ssh.Close()
}

// Close ends the connection and everything on it, and waits until it is over.
func (c *Client) Close() error {
	c.fail(net.ErrClosed)
	<-c.done
	return nil
}

// Done is closed when the connection is over, however it ended.
func (c *Client) Done() <-chan struct{} { return c.done }

// Err tells why the connection is over: nil while it is not, [net.ErrClosed]
// after Close, else a fault of kind Unreachable.
func (c *Client) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// ServerVersion returns how the server introduced itself: "SSH-2.0-OpenSSH_9.2".
func (c *Client) ServerVersion() string { return string(c.link.ssh.ServerVersion()) }

// Where names the machine for messages: "user@host:port", and the way to it.
func (c *Client) Where() string { return c.link.where }

// brokenGrace is how much later than its channels the client may learn that
// the connection is gone.
const brokenGrace = 200 * time.Millisecond

// gone tells whether the connection is over. A channel that ended without a
// word ended perhaps because the connection did, which is known a little later.
func (c *Client) gone() bool {
	select {
	case <-c.done:
		return true
	case <-time.After(brokenGrace):
		return false
	}
}

// explain replaces the error of an operation by the reason for which the
// connection ended, if it did: that says more than "EOF".
func (c *Client) explain(err error) error {
	if why := c.Err(); why != nil {
		return why
	}
	return err
}

// ErrNoSession is in the chain of a fault when the connection carries as many sessions as the
// machine allows. Another connection may carry one more.
var ErrNoSession = errors.New("the machine allows no further session on this connection (sshd: MaxSessions)")

// openChannel opens an SSH channel and gives up when ctx ends.
func (c *Client) openChannel(ctx context.Context, kind string) (ssh.Channel, <-chan *ssh.Request, error) {
	type opened struct {
		ch   ssh.Channel
		reqs <-chan *ssh.Request
		err  error
	}
	got := make(chan opened)
	// The package cannot cancel an open. The goroutine ends when the machine
	// answers or the connection ends, whichever is first.
	go func() {
		ch, reqs, err := c.link.ssh.OpenChannel(kind, nil)
		select {
		case got <- opened{ch, reqs, err}:
		case <-ctx.Done():
			if err == nil {
				go ssh.DiscardRequests(reqs)
				ch.Close()
			}
		}
	}()
	select {
	case o := <-got:
		var refused *ssh.OpenChannelError
		if kind == "session" && errors.As(o.err, &refused) && c.Err() == nil {
			return nil, nil, fault.New(fault.Unreachable, "%s: %w", c.link.where, fmt.Errorf("%w: %w", ErrNoSession, o.err)).
				WithRemedy("Raise MaxSessions in the sshd_config of the machine, or end other uses of this login.")
		}
		if o.err != nil {
			return nil, nil, fault.New(fault.Unreachable, "%s: no %s: %w", c.link.where, kind, c.explain(o.err))
		}
		return o.ch, o.reqs, nil
	case <-ctx.Done():
		return nil, nil, c.gaveUp(ctx)
	}
}

// request asks for something on a session channel.
func (c *Client) request(ch ssh.Channel, kind string, payload []byte) error {
	ok, err := ch.SendRequest(kind, true, payload)
	if err == nil && !ok {
		err = errors.New("the machine refuses it")
	}
	if err != nil {
		return fault.New(fault.Unreachable, "%s: no %s: %w", c.link.where, kind, c.explain(err))
	}
	return nil
}

// until calls f, which the SSH package cannot cancel, and gives up when ctx
// ends. f then goes on until the machine answers or the connection ends.
func (c *Client) until(ctx context.Context, f func() error) error {
	done := make(chan error, 1)
	go func() { done <- f() }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return c.gaveUp(ctx)
	}
}

func (c *Client) gaveUp(ctx context.Context) error {
	return fault.New(fault.Unreachable, "%s: gave up: %w", c.link.where, context.Cause(ctx))
}
