package forward

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync"
	"time"

	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/reach"
)

// out keeps the port open on the machine and forwards what connects there.
// It calls ready when the port is open for the first time, or may never be.
func (f *Forwarder) out(ctx context.Context, out Out, ready func()) {
	defer ready()
	what := named(out.Port, out.Name)
	var unanswered sync.Once
	serve := func(conn net.Conn) {
		if !f.take(what) {
			abort(conn)
			return
		}
		defer f.give()
		far, err := f.dial(ctx, out.To)
		if err != nil {
			f.cfg.Log.Debug("no connection from the Pod", "port", what, "to", out.To, "error", err)
			unanswered.Do(func() {
				f.cfg.Warn(fmt.Sprintf("%s of the machine leads to %s, where nobody answers: %v; this is said once", what, out.To, err))
			})
			abort(conn)
			return
		}
		join(ctx, conn, far)
	}
	warn := func(err error) {
		f.warn(what+" of the machine does not lead to "+out.To, err)
		ready()
	}
	ours := func() bool {
		if !f.cfg.Ours(out) {
			return false
		}
		ready()
		return true
	}
	for ctx.Err() == nil {
		c, ln, err := f.hold(ctx, out.Port, ours, warn)
		if err != nil {
			return // told by warn, or ctx ended
		}
		f.cfg.Log.Debug("port open on the machine", "port", what, "to", out.To)
		ready()
		f.serveOut(ctx, c, ln, what, serve)
	}
}

// hold listens on the machine's port, for as long as it takes. If somebody else
// has it for longer than takenGrace and ours does not know who, or the SSH server
// does not allow it, that goes to warn, once. It fails when ctx ends or in the
// latter case. That the machine cannot be reached is for the run itself to tell.
func (f *Forwarder) hold(ctx context.Context, port int, ours func() bool, warn func(error)) (*reach.Client, net.Listener, error) {
	var p pause
	var warned bool
	began := time.Now()
	for {
		c, err := f.cfg.Client(ctx)
		if err == nil {
			var ln net.Listener
			if ln, err = c.Listen(ctx, loopback(port)); err == nil {
				return c, ln, nil
			}
		}
		if ctx.Err() != nil {
			return nil, nil, context.Cause(ctx)
		}
		forbidden := errors.Is(err, reach.ErrForbidden)
		taken := fault.Is(err, fault.Busy) && !ours() && time.Since(began) > takenGrace
		if !warned && (forbidden || taken) {
			warned = true
			warn(err)
		}
		if forbidden {
			return nil, nil, err
		}
		if !p.wait(ctx) {
			return nil, nil, context.Cause(ctx)
		}
	}
}

func loopback(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

// serveOut gives each connection that ln accepts to serve, until the machine
// is lost or ctx ends.
func (f *Forwarder) serveOut(ctx context.Context, c *reach.Client, ln net.Listener, what string, serve func(net.Conn)) {
	closed := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(closed)
		if err := ln.Close(); err != nil {
			f.cfg.Log.Debug("end of a listener on the machine", "port", what, "error", err)
		}
	})
	for {
		conn, err := ln.Accept()
		if err != nil {
			f.cfg.Log.Debug("port closed on the machine", "port", what, "error", err)
			break
		}
		f.wg.Go(func() { serve(conn) })
	}
	if !stop() {
		<-closed
		return
	}
	<-c.Done() // the listener ends with the connection, whose end is known a little later
}

// dial connects from the Pod.
func (f *Forwarder) dial(ctx context.Context, address string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialLimit)
	defer cancel()
	return f.cfg.Dial(ctx, "tcp", address)
}

// startProxy listens for the proxy's clients, on a port of the machine's choice
// if the proxy is new, and keeps that port. What is to be waited for until a
// proxy from before listens goes to ready.
func (f *Forwarder) startProxy(ctx context.Context, ready *sync.WaitGroup) error {
	if f.proxy.Port != 0 {
		ready.Add(1)
		f.wg.Go(func() { f.keepProxy(ctx, nil, nil, sync.OnceFunc(ready.Done)) })
		return nil
	}
	c, err := f.cfg.Client(ctx)
	if err != nil {
		return err
	}
	ln, err := c.Listen(ctx, loopback(0))
	if err != nil {
		return err
	}
	addr, ok := ln.Addr().(*net.TCPAddr)
	if !ok || addr.Port == 0 {
		ln.Close()
		return fault.New(fault.Protocol, "%s: does not say on which port it listens", c.Where())
	}
	f.proxy = Proxy{Port: addr.Port, Password: rand.Text()}
	f.wg.Go(func() { f.keepProxy(ctx, c, ln, func() {}) })
	return nil
}

// keepProxy serves the proxy's clients from ln on, which may be nil, and gets the
// port back whenever it is lost. It calls ready when the port is had for the
// first time, or may never be.
func (f *Forwarder) keepProxy(ctx context.Context, c *reach.Client, ln net.Listener, ready func()) {
	defer ready()
	warn := func(err error) {
		f.warn(fmt.Sprintf("the proxy to the cluster cannot have its port %d on the machine back after the connection was lost; it is tried for", f.proxy.Port), err)
		ready()
	}
	for ctx.Err() == nil {
		if ln == nil {
			// Another port would help nobody: the programs that run know this one.
			var err error
			if c, ln, err = f.hold(ctx, f.proxy.Port, func() bool { return false }, warn); err != nil {
				return
			}
		}
		ready()
		f.serveOut(ctx, c, ln, "proxy", func(conn net.Conn) { f.serveProxy(ctx, conn) })
		ln = nil
	}
}
