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
	// defaultGreet is how long a client may take to show the password and say what
	// it wants.
	defaultGreet = 10 * time.Second
	// maxStrangers bounds the clients that have not: they hold no place of those
	// that have, and the oldest gives way to who comes.
	maxStrangers = 64
	// headLimit bounds the head of an HTTP request, in bytes, and each of its lines.
	headLimit = 64 << 10
)

// proxyUser is the user's name that the proxy's clients give.
const proxyUser = "outrigger"

// A Proxy is what programs on the machine know of the proxy. On a machine that
// others use as well, its port alone would let everybody into the cluster.
type Proxy struct {
	Port     int    `json:"port"`
	Password string `json:"password"`
}

func (p Proxy) knows(user, password []byte) bool {
	a := subtle.ConstantTimeCompare(user, []byte(proxyUser))
	b := subtle.ConstantTimeCompare(password, []byte(p.Password))
	return a&b == 1
}

// Env returns the variables by which programs on the machine find the proxy,
// as NAME=value, in both spellings that programs look for; none of a Proxy
// without a port. The machine's own loopback stays its own; whatever else a program
// connects to goes through the Pod, since the variables have no way to say
// "only the cluster".
func (p Proxy) Env() []string {
	if p.Port == 0 {
		return nil
	}
	u := url.URL{Scheme: "http", User: url.UserPassword(proxyUser, p.Password), Host: loopback(p.Port)}
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

// Proxy returns the proxy that programs on the machine may use, with its
// variables; without a port if there is none.
func (f *Forwarder) Proxy() Proxy { return f.proxy }

// serveProxy serves one client, which speaks SOCKS5 or HTTP.
func (f *Forwarder) serveProxy(ctx context.Context, conn net.Conn) {
	ended := context.AfterFunc(ctx, func() { abort(conn) })
	defer ended()
	defer conn.Close()
	leave := f.strangers.Enter("", func() { abort(conn) })
	defer leave()
	late := time.AfterFunc(f.cfg.Greet, func() { abort(conn) }) // these connections have no deadlines
	defer late.Stop()
	r := bufio.NewReaderSize(conn, headLimit)
	ask, err := f.ask(conn, r)
	if err != nil {
		f.cfg.Log.Debug("proxy: refused", "error", err)
		return
	}
	if !leave() || !late.Stop() {
		return
	}
	if !f.take("proxy") {
		ask.refuse(conn, errFull)
		return
	}
	defer f.give()
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

var errFull = fmt.Errorf("%d connections are open already", maxConns)

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
		return askSOCKS(conn, r, f.proxy)
	}
	return askHTTP(conn, r, f.proxy)
}

// hostPort joins what a client named, with limits on both.
func hostPort(host string, port int) (string, error) {
	if host == "" || len(host) > 255 || port < 1 || port > 65535 {
		return "", fmt.Errorf("proxy: no address: host of %d bytes, port %d", len(host), port)
	}
	return net.JoinHostPort(host, strconv.Itoa(port)), nil
}
