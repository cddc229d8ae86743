package forward

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"

	"outrigger.dev/outrigger/internal/reach"
)

// loopbacks are where a program on the machine may listen, the usual one first.
var loopbacks = []string{"127.0.0.1", "::1"}

// in opens the port in the Pod whenever the machine serves it.
func (f *Forwarder) in(ctx context.Context, in In) {
	what := named(in.Port, in.Name)
	warned := false
	for ctx.Err() == nil {
		c, err := f.served(ctx, in.Port)
		if errors.Is(err, reach.ErrForbidden) {
			f.warn(what+" is not forwarded to the machine", err)
			return
		}
		if err != nil {
			return // ctx ended
		}
		var p pause
		ln, err := net.Listen("tcp", ":"+strconv.Itoa(in.Port))
		for err != nil {
			if !warned {
				warned = true
				f.cfg.Warn(fmt.Sprintf("%s cannot be opened in the Pod, so the server on the machine is not reached there: %v", what, err))
			}
			if !p.wait(ctx) {
				return
			}
			ln, err = net.Listen("tcp", ":"+strconv.Itoa(in.Port))
		}
		f.cfg.Log.Debug("port open", "port", what)
		f.serveIn(ctx, c, ln, in.Port)
		f.cfg.Log.Debug("port closed", "port", what)
	}
}

// served waits until something accepts on the machine's port. It fails when
// ctx ends or the machine's SSH server forbids to look.
func (f *Forwarder) served(ctx context.Context, port int) (*reach.Client, error) {
	var p pause
	for {
		c, err := f.cfg.Client(ctx)
		if err == nil {
			var conn net.Conn
			if conn, err = dialMachine(ctx, c, port); err == nil {
				conn.Close()
				return c, nil
			}
		}
		if errors.Is(err, reach.ErrForbidden) {
			return nil, err
		}
		if !p.wait(ctx) {
			return nil, context.Cause(ctx)
		}
	}
}

// dialMachine connects to the port on the machine's loopback.
func dialMachine(ctx context.Context, c *reach.Client, port int) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialLimit)
	defer cancel()
	var err error
	for _, host := range loopbacks {
		var conn net.Conn
		conn, err = c.DialContext(ctx, "tcp", net.JoinHostPort(host, strconv.Itoa(port)))
		if err == nil || !errors.Is(err, reach.ErrNoAnswer) {
			return conn, err
		}
	}
	return nil, err
}

// serveIn forwards what ln accepts until nobody accepts on the machine any
// more, the connection to it is lost or ctx ends. It does not wait for the
// connections: they may outlive the program's listener, as on a node.
func (f *Forwarder) serveIn(ctx context.Context, c *reach.Client, ln net.Listener, port int) {
	serving, stop := context.WithCancel(ctx)
	defer stop()
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		select {
		case <-serving.Done():
		case <-c.Done():
		}
		ln.Close() // resets what is not accepted yet
	}()
	defer func() { <-closed }()
	for {
		conn, err := ln.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil { // out of file descriptors, or the client went away
			f.cfg.Log.Warn("accept", "port", port, "error", err)
			if p := (pause{lastPause / 10}); !p.wait(serving) {
				return
			}
			continue
		}
		if !f.take(strconv.Itoa(port)) {
			abort(conn)
			continue
		}
		f.wg.Go(func() {
			defer f.give()
			began := time.Now()
			far, err := dialMachine(ctx, c, port)
			if err != nil {
				f.cfg.Log.Debug("connection refused by the machine", "port", port, "after", time.Since(began), "error", err)
				if errors.Is(err, reach.ErrNoAnswer) {
					stop()
				}
				abort(conn)
				return
			}
			join(ctx, conn, far)
		})
	}
}
