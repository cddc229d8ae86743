// Package host keeps one machine within reach: an SSH connection that is
// dialled again when it breaks, with the agent in place behind it.
package host

import (
	"context"
	"errors"
	"log/slog"
	"runtime"
	"sync"
	"time"

	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/machine"
	"outrigger.dev/outrigger/internal/reach"
	"outrigger.dev/outrigger/internal/reach/deliver"
	"outrigger.dev/outrigger/internal/version"
	"outrigger.dev/outrigger/internal/wire"
)

// Verbs of the agent that a connection can be opened to.
const (
	Serve   = "serve"   // info, lease, link, sync
	Connect = "connect" // runs, through the daemon
)

// A Config says which machine, and how.
type Config struct {
	Endpoint machine.Endpoint
	Agents   deliver.Source
	Reach    reach.Options
	// Boot is how long the machine may take until SSH answers; 0: one attempt.
	Boot time.Duration
	// Silence is how long the agent may say nothing while an answer is owed; 0: [wire.SilenceLimit].
	Silence time.Duration
	Log     *slog.Logger
}

// A Host is one machine. Its methods may be called at once.
type Host struct {
	cfg     Config
	dialing chan struct{} // holds one element while nobody dials

	mu     sync.Mutex
	client *reach.Client
	spare  []*reach.Client // further connections, for sessions that the first has no room for
	closed bool
	// The last attempt to get back that failed: those who waited for it share its error.
	failed   error
	failedAt time.Time
}

// Dial connects to the machine, waiting up to cfg.Boot for it to answer.
func Dial(ctx context.Context, cfg Config) (*Host, error) {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Silence <= 0 {
		cfg.Silence = wire.SilenceLimit
	}
	if cfg.Reach.Log == nil {
		cfg.Reach.Log = cfg.Log
	}
	h := &Host{cfg: cfg, dialing: make(chan struct{}, 1)}
	h.dialing <- struct{}{}
	var err error
	if cfg.Boot > 0 {
		boot, cancel := context.WithTimeout(ctx, cfg.Boot)
		defer cancel()
		h.client, err = reach.Wait(boot, cfg.Endpoint, cfg.Reach)
		if err != nil && boot.Err() != nil && ctx.Err() == nil {
			err = fault.New(fault.BootTimeout, "machine at %s: no answer within %s: %w", cfg.Endpoint.Address(), cfg.Boot, err)
		}
	} else {
		h.client, err = reach.Dial(ctx, cfg.Endpoint, cfg.Reach)
	}
	if err != nil {
		return nil, err
	}
	return h, nil
}

// Client returns the SSH connection, a new one if the last has broken. Those who
// ask at once share one attempt, and its error.
func (h *Host) Client(ctx context.Context) (*reach.Client, error) {
	began := time.Now()
	if c, err := h.alive(began); c != nil || err != nil {
		return c, err
	}
	select {
	case <-h.dialing:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	defer func() { h.dialing <- struct{}{} }()
	if c, err := h.alive(began); c != nil || err != nil {
		return c, err
	}
	h.cfg.Log.Info("connection broke, dialling again", "machine", h.cfg.Endpoint.Address(), "cause", h.broke())
	c, err := reach.Dial(ctx, h.cfg.Endpoint, h.cfg.Reach)
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case err != nil:
		if ctx.Err() == nil { // else it says nothing to the others
			h.failed, h.failedAt = err, time.Now()
		}
		return nil, err
	case h.closed:
		return nil, errors.Join(errClosed(), c.Close())
	}
	h.client = c
	return c, nil
}

// alive returns the connection if it is well, or the error of an attempt to get
// it back that ended since began; neither if somebody must dial.
func (h *Host) alive(began time.Time) (*reach.Client, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return nil, errClosed()
	}
	select {
	case <-h.client.Done():
	default:
		return h.client, nil
	}
	if h.failedAt.After(began) {
		return nil, h.failed
	}
	return nil, nil
}

func (h *Host) broke() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.client.Err()
}

func errClosed() error { return fault.New(fault.Internal, "host: used after Close") }

// Where names the machine for messages.
func (h *Host) Where() string { return h.cfg.Endpoint.Address() }

// Open starts the agent with verb and returns a connection to it. first, if
// not nil, sends the first request before anything is received, which saves a
// round trip; it may be called twice, on two connections.
func (h *Host) Open(ctx context.Context, verb string, first func(*wire.Conn) error) (*wire.Conn, error) {
	c, err := h.Client(ctx)
	if err != nil {
		return nil, err
	}
	conn, err := h.openOn(ctx, c, verb, first)
	for i := 0; i < maxSpare && errors.Is(err, reach.ErrNoSession); i++ {
		if c, err = h.spareClient(ctx, i); err != nil {
			return nil, err
		}
		conn, err = h.openOn(ctx, c, verb, first)
	}
	return conn, err
}

// maxSpare bounds the connections beside the first. A run uses two sessions and one for each folder
// of a Pod; sshd_config(5) has 10 as default of MaxSessions, and some administrators set 1.
const maxSpare = 8

// spareClient returns the connection number i beside the first, a new one if there is none or it has broken.
func (h *Host) spareClient(ctx context.Context, i int) (*reach.Client, error) {
	select {
	case <-h.dialing:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	defer func() { h.dialing <- struct{}{} }()
	h.mu.Lock()
	closed := h.closed
	var c *reach.Client
	if i < len(h.spare) && h.spare[i].Err() == nil {
		c = h.spare[i]
	}
	h.mu.Unlock()
	switch {
	case closed:
		return nil, errClosed()
	case c != nil:
		return c, nil
	}
	h.cfg.Log.Debug("one more connection, since the others carry no further session", "machine", h.cfg.Endpoint.Address())
	c, err := reach.Dial(ctx, h.cfg.Endpoint, h.cfg.Reach)
	if err != nil {
		return nil, err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case h.closed:
		return nil, errors.Join(errClosed(), c.Close())
	case i < len(h.spare):
		h.spare[i] = c
	default:
		h.spare = append(h.spare, c)
	}
	return c, nil
}

func (h *Host) openOn(ctx context.Context, c *reach.Client, verb string, first func(*wire.Conn) error) (*wire.Conn, error) {
	conn, _, err := deliver.Open(ctx, c, h.cfg.Agents, h.cfg.Endpoint.Root, verb, func(conn *wire.Conn) error {
		platform := machine.Platform{OS: runtime.GOOS, Arch: runtime.GOARCH}
		if err := conn.GreetAs(version.Version, platform, h.cfg.Endpoint.LeaseKey.Reveal()); err != nil {
			return err
		}
		if first == nil {
			return conn.Flush()
		}
		return first(conn)
	})
	if err == nil && verb == Serve { // connect has pings of its own
		conn.LimitSilence(h.cfg.Silence, c.Where())
	}
	return conn, err
}

// Call opens a connection to the agent's serve for one request.
func (h *Host) Call(ctx context.Context, method string, req, resp any) error {
	conn, err := h.Open(ctx, Serve, func(c *wire.Conn) error { return c.SendRequest(method, req) })
	if err != nil {
		return err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	if err := conn.RecvResponse(resp); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return err
	}
	return nil
}

// Close ends the connections.
func (h *Host) Close() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
	err := h.client.Close()
	for _, c := range h.spare {
		err = errors.Join(err, c.Close())
	}
	return err
}
