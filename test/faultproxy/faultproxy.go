// Package faultproxy is a TCP proxy that makes a good network bad: long, narrow,
// and broken at chosen or seeded random points.
//
// It stands between a client and a server on loopback and passes bytes both
// ways through a [Link], which adds latency and limits bandwidth without giving
// up pipelining. A [Plan] breaks connections at byte positions drawn from a
// seed, so that a run which failed can be made to fail again; methods such as
// [Proxy.Cut] break them at the moment a test asks for it.
//
// It ends TCP on both sides, so loss, reordering and slow start are not part of
// what it shows.
package faultproxy

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"sync"
	"time"
)

// A Config says where a proxy leads and what happens on the way.
type Config struct {
	Listen string // "" means a free port of 127.0.0.1
	Target string // host:port
	Link   Link
	Plan   Plan
	Log    *slog.Logger // nil: no log
}

// A Proxy is listening from [Start] until [Proxy.Close].
type Proxy struct {
	cfg      Config
	log      *slog.Logger
	listener net.Listener
	up, down *line           // shared by all connections, as one cable is
	ctx      context.Context //nolint:containedctx // it is the proxy's own life, ended by Close
	cancel   context.CancelFunc
	running  sync.WaitGroup
	gate     gate
	dice     *dice

	mu      sync.Mutex
	conns   map[*conn]struct{}
	refuse  int
	counter int
	faults  []Event
}

// Start listens and returns at once; connections are served until Close.
func Start(cfg Config) (*Proxy, error) {
	if cfg.Listen == "" {
		cfg.Listen = "127.0.0.1:0"
	}
	log := cfg.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	var lc net.ListenConfig
	ctx, cancel := context.WithCancel(context.Background())
	l, err := lc.Listen(ctx, "tcp", cfg.Listen)
	if err != nil {
		cancel()
		return nil, err
	}
	p := &Proxy{
		cfg: cfg, log: log, listener: l, ctx: ctx, cancel: cancel,
		up: newLine(cfg.Link), down: newLine(cfg.Link),
		dice: newDice(cfg.Plan), conns: map[*conn]struct{}{},
	}
	p.running.Go(p.accept)
	return p, nil
}

// Addr returns the address to dial instead of the target's.
func (p *Proxy) Addr() string { return p.listener.Addr().String() }

// Port returns the port of Addr.
func (p *Proxy) Port() int { return p.listener.Addr().(*net.TCPAddr).Port }

// Close ends all connections and waits until nothing of the proxy is left.
func (p *Proxy) Close() error {
	p.cancel()
	err := p.listener.Close()
	p.Cut()
	p.running.Wait()
	return err
}

// Cut resets every connection there is, as when sshd is killed or a firewall
// sends resets, and returns how many there were.
func (p *Proxy) Cut() int { return p.each(Cut) }

// Vanish makes every connection there is a black hole, as when a cable is
// pulled or a NAT forgets: what is sent is lost and nobody is told. New
// connections work.
func (p *Proxy) Vanish() int { return p.each(Vanish) }

// Stall lets nothing pass on any connection, old or new, until the returned
// function is called; nothing is lost.
func (p *Proxy) Stall() (resume func()) { return p.gate.shut() }

// Refuse resets the next n connections as soon as they are made.
func (p *Proxy) Refuse(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refuse = n
}

// Faults lists what the proxy did to connections so far, oldest first.
func (p *Proxy) Faults() []Event {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]Event(nil), p.faults...)
}

// Conns tells how many connections were accepted so far.
func (p *Proxy) Conns() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.counter
}

func (p *Proxy) each(k Kind) int {
	p.mu.Lock()
	conns := make([]*conn, 0, len(p.conns))
	for c := range p.conns {
		conns = append(conns, c)
	}
	p.mu.Unlock()
	for _, c := range conns {
		c.do(k)
	}
	return len(conns)
}

func (p *Proxy) note(e Event) {
	p.mu.Lock()
	p.faults = append(p.faults, e)
	p.mu.Unlock()
	p.log.Info("fault", "kind", e.Kind, "conn", e.Conn, "direction", e.Direction, "at", e.At)
}

func (p *Proxy) accept() {
	for {
		near, err := p.listener.Accept()
		if err != nil {
			if !errors.Is(err, net.ErrClosed) {
				p.log.Error("accept", "err", err)
			}
			return
		}
		p.running.Go(func() { p.serve(near) })
	}
}

func (p *Proxy) serve(near net.Conn) {
	if p.refused() {
		reset(near)
		return
	}
	// A connection costs one round trip before its first byte.
	if !wait(p.ctx, 2*p.cfg.Link.Delay) {
		reset(near)
		return
	}
	var d net.Dialer
	far, err := d.DialContext(p.ctx, "tcp", p.cfg.Target)
	if err != nil {
		p.log.Warn("dial target", "target", p.cfg.Target, "err", err)
		reset(near)
		return
	}
	c := p.add(near, far)
	defer p.remove(c)
	c.run(p.ctx)
}

func (p *Proxy) refused() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.refuse == 0 {
		return false
	}
	p.refuse--
	return true
}

func (p *Proxy) add(near, far net.Conn) *conn {
	p.mu.Lock()
	defer p.mu.Unlock()
	c := &conn{proxy: p, number: p.counter, near: near, far: far}
	p.counter++
	p.conns[c] = struct{}{}
	return c
}

func (p *Proxy) remove(c *conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.conns, c)
}

// wait lets d pass and tells whether ctx lived that long.
func wait(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
