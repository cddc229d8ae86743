package forward

import (
	"bufio"
	"context"
	"crypto/subtle"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"time"
)

const (
	// talkLimit is how long a client may take to say what it wants.
	talkLimit = time.Minute
	// headLimit bounds the head of an HTTP request, in bytes, and each of its lines.
	headLimit = 64 << 10
)

// A login is what the proxy's clients must know. On a machine that others
// use as well, its port alone would let everybody into the cluster.
type login struct{ user, password string }

func (l login) is(user, password []byte) bool {
	a := subtle.ConstantTimeCompare(user, []byte(l.user))
	b := subtle.ConstantTimeCompare(password, []byte(l.password))
	return a&b == 1
}

// Env returns the variables by which programs on the machine find the proxy,
// as NAME=value, in both spellings that programs look for; none without a
// proxy. The machine's own loopback stays its own; whatever else a program
// connects to goes through the Pod, since the variables have no way to say
// "only the cluster".
func (f *Forwarder) Env() []string {
	if f.port == 0 {
		return nil
	}
	u := url.URL{Scheme: "http", User: url.UserPassword(f.login.user, f.login.password), Host: loopback(f.port)}
	http := u.String()
	u.Scheme = "socks5h" // names are resolved in the Pod
	socks := u.String()
	const own = "localhost,127.0.0.1,::1"
	return []string{
		"ALL_PROXY=" + socks, "all_proxy=" + socks,
		"HTTP_PROXY=" + http, "http_proxy=" + http,
		"HTTPS_PROXY=" + http, "https_proxy=" + http,
		"NO_PROXY=" + own, "no_proxy=" + own,
	}
}

// proxy serves one client, which speaks SOCKS5 or HTTP.
func (f *Forwarder) proxy(ctx context.Context, conn net.Conn) {
	ended := context.AfterFunc(ctx, func() { abort(conn) })
	defer ended()
	defer conn.Close()
	late := time.AfterFunc(talkLimit, func() { abort(conn) }) // these connections have no deadlines
	defer late.Stop()
	r := bufio.NewReaderSize(conn, headLimit)
	ask, err := f.ask(conn, r)
	if err != nil {
		f.cfg.Log.Debug("proxy: refused", "error", err)
		return
	}
	if !late.Stop() {
		return
	}
	far, err := f.dial(ctx, ask.to)
	if err != nil {
		f.cfg.Log.Debug("proxy: no connection from the Pod", "to", ask.to, "error", err)
		ask.refuse(conn, err)
		return
	}
	if err := ask.begin(conn, far); err != nil {
		abort(far)
		return
	}
	join(ctx, &peeked{Conn: conn, r: r}, far)
}

// A request is what a client of the proxy wants.
type request struct {
	to     string // host:port
	refuse func(client net.Conn, why error)
	begin  func(client, far net.Conn) error
}

// ask learns what the client wants. If the answer is no, the client has got it.
func (f *Forwarder) ask(conn net.Conn, r *bufio.Reader) (request, error) {
	first, err := r.Peek(1)
	if err != nil {
		return request{}, err
	}
	if first[0] == socksVersion {
		return askSOCKS(conn, r, f.login)
	}
	return askHTTP(conn, r, f.login)
}

// hostPort joins what a client named, with limits on both.
func hostPort(host string, port int) (string, error) {
	if host == "" || len(host) > 255 || port < 1 || port > 65535 {
		return "", fmt.Errorf("proxy: no address: host of %d bytes, port %d", len(host), port)
	}
	return net.JoinHostPort(host, strconv.Itoa(port)), nil
}
