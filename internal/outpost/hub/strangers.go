package hub

import (
	"context"
	"crypto/tls"
	"net"

	"outrigger.dev/outrigger/internal/connlimit"
)

// Limits on the connections of those who have shown neither a pass nor a token. A
// load balancer may make one source of many, so one may have a good part of them.
const (
	maxStrangers  = 512
	maxFromSource = 128
)

// A stranger is a connection whose client has not proved who it is.
type stranger struct {
	net.Conn
	leave func() bool
}

// Close implements [net.Conn].
func (s *stranger) Close() error {
	s.leave()
	return s.Conn.Close()
}

// strangers makes strangers of those who come.
type strangers struct {
	net.Listener
	limit *connlimit.Limiter
}

// Accept implements [net.Listener].
func (l *strangers) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	end := func() { c.Close() } // whoever reads or writes sees it
	return &stranger{c, l.limit.Enter(connlimit.Source(c.RemoteAddr()), end)}, nil
}

type strangerKey struct{}

// withStranger lets requests find the connection on which they came.
func withStranger(ctx context.Context, c net.Conn) context.Context {
	if t, ok := c.(*tls.Conn); ok {
		c = t.NetConn()
	}
	return context.WithValue(ctx, strangerKey{}, c)
}

// known takes the connection of a request out of those of strangers, since its
// client has proved who it is. It is false if it had to give way just now.
func known(ctx context.Context) bool {
	s, ok := ctx.Value(strangerKey{}).(*stranger)
	return !ok || s.leave()
}
