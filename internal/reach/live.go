package reach

import (
	"bufio"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// A liveConn is a connection that knows when it was last heard of and how it broke.
type liveConn struct {
	net.Conn
	r       *bufio.Reader
	raw     syscall.RawConn // nil if the connection is no socket
	start   time.Time
	heard   atomic.Int64 // nanoseconds after start
	closed  atomic.Bool
	closing sync.Once
	broke   atomic.Pointer[error] // the first read error that was not our doing
}

// smallRead is the size below which a read is taken for talk, where the other
// side waits for our acknowledgement, and not for bulk data.
const smallRead = 1024

func newLiveConn(c net.Conn) *liveConn {
	l := &liveConn{Conn: c, start: time.Now()}
	l.r = bufio.NewReaderSize(rawReader{l}, 64<<10)
	if s, ok := c.(syscall.Conn); ok {
		if raw, err := s.SyscallConn(); err == nil {
			l.raw = raw
		}
	}
	return l
}

// awaitFirst waits until the other side has said something, at most for limit.
// Some port forwarders accept before anybody listens behind them.
func (l *liveConn) awaitFirst(limit time.Duration) error {
	var late atomic.Bool
	t := time.AfterFunc(limit, func() {
		late.Store(true)
		l.Close()
	})
	defer t.Stop()
	_, err := l.r.Peek(1)
	if late.Load() {
		return errSilent
	}
	return err
}

// Read implements [net.Conn].
func (l *liveConn) Read(b []byte) (int, error) { return l.r.Read(b) }

// Close implements [net.Conn].
func (l *liveConn) Close() (err error) {
	l.closed.Store(true)
	l.closing.Do(func() { err = l.Conn.Close() })
	return err
}

// quietFor tells for how long nothing was heard.
func (l *liveConn) quietFor() time.Duration {
	return time.Since(l.start) - time.Duration(l.heard.Load())
}

// err returns how the other side or the network ended the connection, or nil.
func (l *liveConn) err() error {
	if p := l.broke.Load(); p != nil {
		return *p
	}
	return nil
}

// rawReader reads from below the buffer.
type rawReader struct{ l *liveConn }

func (r rawReader) Read(b []byte) (int, error) {
	l := r.l
	n, err := l.Conn.Read(b)
	if n > 0 {
		l.heard.Store(int64(time.Since(l.start)))
	}
	if n > 0 && n < smallRead && l.raw != nil {
		// Without this the login waits 40 ms for a delayed acknowledgement, since
		// sshd switches Nagle's algorithm off only after it: 100 against 56 ms for
		// a login and a command on loopback, median of 30, three times.
		ackNow(l.raw)
	}
	if err != nil && !l.closed.Load() {
		l.broke.CompareAndSwap(nil, &err)
	}
	return n, err
}

var _ io.Reader = rawReader{}
