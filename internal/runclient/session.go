package runclient

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/wire"
)

// A finalError is one that another connection would not mend.
type finalError struct{ err error }

func (e finalError) Error() string { return e.err.Error() }
func (e finalError) Unwrap() error { return e.err }

// goodbye is how long we wait for the agent to hang up after the last
// acknowledgement; a round trip is what it should take.
const goodbye = time.Second

// session joins the run on conn and streams until the exit is written or the
// connection breaks. joined is called when the agent has answered.
func (c *client) session(ctx context.Context, conn *wire.Conn, joined func()) error {
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	answer, err := c.join(conn)
	if err != nil {
		return err
	}
	joined()
	for _, w := range answer.Warnings {
		c.warn(w)
	}
	c.heard.Store(time.Now().UnixNano())
	gone := make(chan struct{})
	var receiveErr error
	var receiving sync.WaitGroup
	receiving.Go(func() {
		defer close(gone)
		receiveErr = c.receive(conn)
	})
	sendErr := c.send(ctx, conn, answer, gone)
	if sendErr == nil {
		// The agent hangs up when it has our last acknowledgement, and can forget
		// the run. Were we first, it might never get it, and keep the run for its absence.
		select {
		case <-gone:
		case <-time.After(goodbye):
		}
	}
	conn.Close()
	receiving.Wait()
	var final finalError
	if errors.Is(sendErr, errGone) || errors.As(receiveErr, &final) {
		return receiveErr
	}
	return sendErr
}

// join asks for the run: to start while no start was ever answered, later to
// be attached. A start that is repeated joins what it has started.
func (c *client) join(conn *wire.Conn) (answer wire.RunJoined, err error) {
	slow := time.AfterFunc(c.opts.Answer, func() { conn.Close() })
	defer slow.Stop()
	c.mu.Lock()
	first := !c.asked
	c.asked = true
	started := c.started
	c.mu.Unlock()
	if first && c.opts.Asked != nil {
		c.opts.Asked()
	}
	if started || c.opts.Attach {
		have := c.out.look().received
		err = conn.SendRequest(wire.MethodRunAttach, wire.RunAttach{RunID: c.spec.RunID, Lease: c.spec.Lease, Have: have, Ping: c.opts.Ping, Resume: !started})
	} else {
		err = conn.SendRequest(wire.MethodRunStart, wire.RunStart{Spec: c.spec, Ping: c.opts.Ping, Resume: c.opts.Resume})
	}
	if errors.Is(err, wire.ErrFrameTooLarge) {
		return answer, finalError{fault.New(fault.Usage, "run: command, script and environment are more than %d bytes together", wire.MaxFrame)}
	}
	if err != nil {
		return answer, err
	}
	// Not RecvResponse: what the agent answers is final, what the connection says is not.
	f, err := conn.Recv()
	if fault.Is(err, fault.Protocol) {
		return answer, finalError{err}
	}
	if err != nil {
		if !slow.Stop() {
			err = fmt.Errorf("the agent hangs: it did not answer within %s", c.opts.Answer)
		}
		return answer, fmt.Errorf("run: answer to start: %w", err)
	}
	var r wire.Response
	if f.Type != wire.TypeResponse {
		return answer, finalError{fault.New(fault.Protocol, "run: got frame type %d, want a response", f.Type)}
	}
	if err := f.Decode(&r); err != nil {
		return answer, finalError{fault.New(fault.Protocol, "run: decode response: %w", err)}
	}
	if r.Fault != nil {
		return answer, finalError{c.refused(r.Fault.Err(), first)}
	}
	if err := wire.Unmarshal(r.Body, &answer); err != nil {
		return answer, finalError{fault.New(fault.Protocol, "run: decode response: %w", err)}
	}
	if !started && (c.opts.Resume || c.opts.Attach) {
		c.out.resume(answer.From)
		c.in.resume(answer.Have)
	}
	c.mu.Lock()
	c.started = true
	c.mu.Unlock()
	if !started {
		close(c.begun)
	}
	if !started && c.opts.Started != nil {
		c.opts.Started()
	}
	return answer, nil
}

// refused marks the answer to the only start that was ever sent: what else may have been done to an
// earlier one is not known.
func (c *client) refused(err error, first bool) error {
	if first && !c.opts.Resume && !c.opts.Attach && !fault.Is(err, fault.RunLost) {
		return refusal{err}
	}
	return err
}

// receive reads frames until the connection breaks or makes no sense. It
// never writes to the connection, so two sides that both have much to say
// cannot wait for each other.
func (c *client) receive(conn *wire.Conn) error {
	for {
		f, err := conn.Recv()
		if err != nil {
			return fmt.Errorf("run: %w", err)
		}
		c.heard.Store(time.Now().UnixNano())
		switch f.Type {
		case wire.TypeRunLog:
			p, b, err := f.Log()
			if err == nil {
				err = c.out.take(p, b)
			}
			if err != nil {
				return finalError{err}
			}
		case wire.TypeRunAck:
			p, _, err := f.Log()
			if err != nil {
				return finalError{err}
			}
			c.in.ack(p)
		case wire.TypePong:
		default:
			return finalError{fault.New(fault.Protocol, "run: got frame type %d in the middle of a run", f.Type)}
		}
	}
}

// maxPiece is how much of the input log goes into one frame.
const maxPiece = 256 << 10

// send sends the input log from where the agent stands, acknowledgements and pings, until the
// exit is written (nil), the connection breaks or says nothing for too long.
func (c *client) send(ctx context.Context, conn *wire.Conn, from wire.RunJoined, gone <-chan struct{}) error {
	tick := time.NewTicker(c.opts.Ping)
	defer tick.Stop()
	acked := wire.Pos(0)
	kill := c.kill
	p := from.Have
	for {
		b, inChanged, ok := c.in.from(p, maxPiece)
		if from.Over {
			b, ok = nil, true
		}
		if !ok {
			return finalError{fault.New(fault.Protocol, "run: the agent wants input from %d, which was never sent or is acknowledged", p)}
		}
		out := c.out.look()
		switch {
		case out.failed != nil:
			return finalError{out.failed}
		case len(b) > 0:
			if err := conn.SendLog(p, b); err != nil {
				return err
			}
			p += wire.Pos(len(b))
			continue
		case out.written > acked:
			acked = out.written
			if err := conn.SendAck(acked); err != nil {
				return err
			}
			continue
		case out.exit != nil:
			return nil
		}
		select {
		case <-inChanged:
		case <-out.changed:
		case <-kill:
			kill = nil
			if err := conn.Send(wire.TypeRunKill, wire.RunKill{}); err != nil {
				return err
			}
			tick.Reset(min(c.opts.Ping, killPing))
		case <-tick.C:
			quiet := time.Since(time.Unix(0, c.heard.Load()))
			if quiet > 3*c.opts.Ping {
				return fmt.Errorf("run: nothing heard for %s", quiet.Round(time.Millisecond))
			}
			if err := conn.SendBytes(wire.TypePing); err != nil {
				return err
			}
		case <-gone:
			return errGone
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// errGone says that the receiving half knows what happened.
var errGone = errors.New("run: connection ended")
