// Package via makes TCP connections through proxies and tunnels.
//
// [Through] turns a dial function and a list of steps into a dial function. A
// step is a SOCKS5 proxy, an HTTP proxy that serves CONNECT, plain or inside
// TLS, or a WireGuard tunnel. The hub of package outpost is an HTTP proxy
// inside TLS, so this is also how outposts are used.
//
// Whoever refuses is told apart from whoever is not there: the fault is
// RouteRefused or Unreachable.
package via

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"strings"

	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/machine"
)

// A DialFunc is as [net.Dialer.DialContext].
type DialFunc func(ctx context.Context, network, address string) (net.Conn, error)

// Tunnels carry connections through WireGuard. Package wireguard implements
// it; a program that does without has none.
type Tunnels interface {
	// Dial connects to address inside of the tunnel that conf describes.
	Dial(ctx context.Context, conf machine.Secret, network, address string) (net.Conn, error)
}

// Through returns a function that dials through the steps in order, the first
// of them with base. Without steps it is base itself. tunnels may be nil.
func Through(base DialFunc, steps []machine.Via, tunnels Tunnels) (DialFunc, error) {
	dial := base
	for i, step := range steps {
		next, err := through(dial, step, tunnels, i == 0)
		if err != nil {
			return nil, err
		}
		dial = next
	}
	return dial, nil
}

func through(dial DialFunc, step machine.Via, tunnels Tunnels, first bool) (DialFunc, error) {
	if !step.WireGuard.Empty() {
		switch {
		case step.URL != "":
			return nil, fault.New(fault.Config, "via %s: is both a proxy and a WireGuard tunnel: want one", step.URL)
		case !first:
			return nil, fault.New(fault.Config, "via %s: a WireGuard tunnel can only be the first step: it needs UDP, which proxies do not carry", step)
		case tunnels == nil:
			return nil, fault.New(fault.Config, "via %s: this program carries no WireGuard: reach the network through a hub that does", step)
		}
		return func(ctx context.Context, network, address string) (net.Conn, error) {
			return tunnels.Dial(ctx, step.WireGuard, network, address)
		}, nil
	}
	proxy, err := parse(step)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		if err := tcp(network); err != nil {
			return nil, err
		}
		conn, err := dialStep(ctx, dial, proxy.address)
		if err != nil {
			return nil, fault.New(kindOf(err), "%s: %w", step, &StepError{reason(err)})
		}
		return proxy.talk(ctx, conn, address)
	}, nil
}

// Check tells what is wrong with the steps, without dialling. tunnels says
// whether the program carries WireGuard.
func Check(steps []machine.Via, tunnels Tunnels) error {
	_, err := Through(new(net.Dialer).DialContext, steps, tunnels)
	return err
}

// Describe lists the steps for messages: "" without any.
func Describe(steps []machine.Via) string {
	names := make([]string, len(steps))
	for i, s := range steps {
		names[i] = s.String()
	}
	return strings.Join(names, ", ")
}

// A proxy is a step that is a proxy, understood.
type proxy struct {
	machine.Via

	address string // "host:port"
	host    string // for its certificate
	shake   func(ctx context.Context, conn net.Conn, to string) (net.Conn, error)
}

// The ports that the schemes stand for.
var ports = map[string]string{"socks5": "1080", "http": "80", "https": "443"}

func parse(step machine.Via) (*proxy, error) {
	u, err := url.Parse(step.URL)
	if err != nil {
		// The package's own error repeats the text, which may hold a password.
		return nil, fault.New(fault.Config, "via: the URL cannot be understood: want socks5://HOST:PORT, http://HOST:PORT or https://HOST:PORT")
	}
	if u.User != nil {
		return nil, fault.New(fault.Config, "via %s: the URL holds a user or password: they have settings of their own", u.Redacted())
	}
	port, known := ports[u.Scheme]
	if !known || u.Hostname() == "" || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "" {
		return nil, fault.New(fault.Config, "via %q: want socks5://HOST:PORT, http://HOST:PORT or https://HOST:PORT", step.URL)
	}
	if u.Port() != "" {
		port = u.Port()
	}
	p := &proxy{Via: step, address: net.JoinHostPort(u.Hostname(), port), host: u.Hostname()}
	switch u.Scheme {
	case "socks5":
		p.shake = p.socks
	case "http":
		p.shake = p.connect
	case "https":
		config, err := p.tls()
		if err != nil {
			return nil, err
		}
		p.shake = func(ctx context.Context, conn net.Conn, to string) (net.Conn, error) {
			secure, err := p.secure(ctx, conn, config)
			if err != nil {
				return nil, err
			}
			return p.connect(ctx, secure, to)
		}
	}
	return p, nil
}

// talk asks the proxy at the other end of conn, which it owns, for a connection.
func (p *proxy) talk(ctx context.Context, conn net.Conn, to string) (net.Conn, error) {
	// A proxy that says nothing is given up with the context.
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	through, err := p.shake(ctx, conn, to)
	if !stop() && err == nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		conn.Close()
		if ctx.Err() != nil {
			return nil, fault.New(fault.Unreachable, "%s: gave up: %w", p, context.Cause(ctx))
		}
		return nil, err
	}
	return through, nil
}

func tcp(network string) error {
	if strings.HasPrefix(network, "tcp") {
		return nil
	}
	return fmt.Errorf("network %q: proxies carry TCP only", network)
}
