package runs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/wire"
)

// quietPings is how many of the client's pings may be missed before it counts
// as gone; its own limit is three, so that it is the first to notice.
const quietPings = 4

// defaultPing is assumed of a client that does not say how often it pings.
const defaultPing = 15 * time.Second

// A session is a client's connection to a run.
type session struct {
	conn *wire.Conn
	have wire.Pos      // of the output log is with the client at first
	done chan struct{} // closed when it is over
}

// Resume is Stream for a client that knows nothing of the run: the output log
// goes on where it was acknowledged, the input log where it was received.
func (r *Run) Resume(ctx context.Context, conn *wire.Conn, ping time.Duration) error {
	return r.Stream(ctx, conn, resume, ping)
}

// resume stands for the position that was acknowledged.
const resume wire.Pos = -1

// Stream joins the client on conn to the run: it answers the client's request,
// then sends the output log from have on. A client that was connected before
// is disconnected: it is the same one, whose old connection died. Stream
// returns when everything is with the client (nil) or the connection ends.
func (r *Run) Stream(ctx context.Context, conn *wire.Conn, have wire.Pos, ping time.Duration) error {
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	ses, err := r.join(conn, have)
	if err != nil {
		return conn.Respond(nil, err)
	}
	err = r.stream(conn, ses.have, ping)
	if r.leave(ses) {
		return nil
	}
	return err
}

// join makes conn the run's only connection.
func (r *Run) join(conn *wire.Conn, have wire.Pos) (*session, error) {
	ses := &session{conn: conn, have: have, done: make(chan struct{})}
	for {
		r.mu.Lock()
		old := r.session
		if old == nil && !r.dropped {
			r.session = ses
			r.deadline.Stop()
		}
		dropped := r.dropped
		r.mu.Unlock()
		if dropped {
			return nil, fault.New(fault.RunLost, "run %s: it ended, and what it said was given out", r.spec.RunID)
		}
		if old == nil {
			break
		}
		old.conn.Close()
		<-old.done
	}
	if have == resume {
		ses.have = r.log.Span().Acked
		r.in.resume()
		return ses, nil
	}
	if span := r.log.Span(); have < span.Acked || have > span.End {
		r.leave(ses)
		return nil, fault.New(fault.RunLost, "run %s: client has its output up to %d, the machine from %d to %d", r.spec.RunID, have, span.Acked, span.End)
	}
	return ses, nil
}

// leave ends a session. The client may close as soon as it has everything,
// so whether it has is looked up here.
func (r *Run) leave(ses *session) (complete bool) {
	r.mu.Lock()
	complete = r.complete()
	r.session = nil
	if !complete {
		r.awaitClient()
	}
	r.mu.Unlock()
	close(ses.done)
	if complete {
		r.drop()
	}
	return complete
}

// complete tells whether the run ended and everything is with the client. It is
// called with r.mu held.
func (r *Run) complete() bool {
	span := r.log.Span()
	return r.ended && span.Acked == span.End
}

// An exchange is what the two halves of a session share.
type exchange struct {
	heard atomic.Int64  // when the client was last heard, UnixNano
	pong  atomic.Bool   // a ping waits for its answer
	news  chan struct{} // something of the above changed; holds one
	gone  chan struct{} // closed when the receiving half ended
	err   error         // why
}

func (r *Run) stream(conn *wire.Conn, have wire.Pos, ping time.Duration) error {
	received, _, _ := r.in.look()
	if err := conn.Respond(wire.RunJoined{Have: received, From: have, Warnings: r.warnings, Over: r.proc == nil}, nil); err != nil {
		return err
	}
	if ping <= 0 {
		ping = defaultPing
	}
	l := &exchange{news: make(chan struct{}, 1), gone: make(chan struct{})}
	l.heard.Store(time.Now().UnixNano())
	go func() {
		defer close(l.gone)
		l.err = r.receive(conn, l)
	}()
	err := r.send(conn, have, ping, l)
	conn.Close()
	<-l.gone
	if errors.Is(err, errGone) {
		return l.err
	}
	return err
}

// receive reads frames until the connection ends. It never writes to it, so
// two sides that both have much to say cannot wait for each other.
func (r *Run) receive(conn *wire.Conn, l *exchange) error {
	for {
		f, err := conn.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		l.heard.Store(time.Now().UnixNano())
		switch f.Type {
		case wire.TypeRunLog:
			p, b, err := f.Log()
			if err == nil {
				err = r.in.take(p, b)
			}
			if err != nil {
				return err
			}
		case wire.TypeRunAck:
			p, _, err := f.Log()
			if err == nil {
				err = r.log.Ack(p)
			}
			if err != nil {
				return err
			}
		case wire.TypeRunKill:
			var k wire.RunKill
			if err := f.Decode(&k); err != nil {
				return fault.New(fault.Protocol, "run %s: decode kill: %w", r.spec.RunID, err)
			}
			r.End(wire.EndedByClient, k.Now)
		case wire.TypePing:
			l.pong.Store(true)
			select {
			case l.news <- struct{}{}:
			default:
			}
		default:
			return fault.New(fault.Protocol, "run %s: got frame type %d in the middle of a run", r.spec.RunID, f.Type)
		}
	}
}

var errGone = errors.New("connection ended")

// send sends the output log from p on, acknowledgements and pongs, until all
// is with the client, or the connection ends or is quiet for too long.
func (r *Run) send(conn *wire.Conn, p wire.Pos, ping time.Duration, l *exchange) error {
	tick := time.NewTicker(ping)
	defer tick.Stop()
	buf := make([]byte, 256<<10)
	inAcked := wire.Pos(0)
	for {
		span := r.log.Span()
		_, done, inChanged := r.in.look()
		room := min(wire.RunWindow-(p-span.Acked), span.End-p, wire.Pos(len(buf)))
		switch {
		case l.pong.Swap(false):
			if err := conn.SendBytes(wire.TypePong); err != nil {
				return err
			}
			continue
		case done > inAcked:
			inAcked = done
			if err := conn.SendAck(done); err != nil {
				return err
			}
			continue
		case room > 0:
			n, err := r.log.ReadAt(buf[:room], p)
			if err != nil {
				return err
			}
			if err := conn.SendLog(p, buf[:n]); err != nil {
				return err
			}
			p += wire.Pos(n)
			continue
		}
		r.mu.Lock()
		complete := r.complete()
		r.mu.Unlock()
		if complete {
			return nil
		}
		select {
		case <-span.Changed:
		case <-inChanged:
		case <-l.news:
		case <-tick.C:
			if quiet := time.Since(time.Unix(0, l.heard.Load())); quiet > quietPings*ping {
				return fmt.Errorf("client is quiet for %s", quiet.Round(time.Millisecond))
			}
		case <-l.gone:
			return errGone
		case <-r.gone:
			return errGone
		}
	}
}
