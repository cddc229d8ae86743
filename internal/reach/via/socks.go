package via

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"strconv"

	"outrigger.dev/outrigger/internal/fault"
)

// SOCKS5 (RFC 1928) with a user name and password (RFC 1929). It is our own,
// since golang.org/x/net/proxy tells in words alone why a proxy refuses, and
// whether a retry may help depends on it.
const (
	socksVersion = 5
	loginVersion = 1
	methodOpen   = 0
	methodLogin  = 2
	verbConnect  = 1
	kindIPv4     = 1
	kindName     = 3
	kindIPv6     = 4
	maxCounted   = 255
)

// replies are the proxy's reasons, section 6 of RFC 1928.
var replies = map[byte]struct {
	kind fault.Kind
	text string
}{
	1: {fault.Unreachable, "general failure of the proxy"},
	2: {fault.RouteRefused, "not allowed by its rules"},
	3: {fault.Unreachable, "network is unreachable from the proxy"},
	4: {fault.Unreachable, "host is unreachable from the proxy"},
	5: {fault.Unreachable, "connection refused"},
	6: {fault.Unreachable, "took the proxy too long"},
	7: {fault.RouteRefused, "the proxy does not serve CONNECT"},
	8: {fault.RouteRefused, "the proxy does not take this kind of address"},
}

// socks asks a SOCKS5 proxy for a connection.
func (p *proxy) socks(_ context.Context, conn net.Conn, to string) (net.Conn, error) {
	dest, err := socksAddress(to)
	if err != nil {
		return nil, fault.New(fault.Config, "%s: %q is no address: %w", p, to, err)
	}
	if err := p.socksLogin(conn); err != nil {
		return nil, err
	}
	if _, err := conn.Write(append([]byte{socksVersion, verbConnect, 0}, dest...)); err != nil {
		return nil, p.broke(err)
	}
	var head [4]byte // version, reply, reserved, kind of address
	if _, err := io.ReadFull(conn, head[:]); err != nil {
		return nil, p.broke(err)
	}
	if head[0] != socksVersion {
		return nil, p.noSOCKS(head[0])
	}
	if head[1] != 0 {
		r, known := replies[head[1]]
		if !known {
			return nil, fault.New(fault.Unreachable, "%s: %s: the proxy answers with code %d", p, to, head[1])
		}
		return nil, fault.New(r.kind, "%s: %s: %s", p, to, r.text)
	}
	var size int
	switch head[3] {
	case kindIPv4:
		size = net.IPv4len
	case kindIPv6:
		size = net.IPv6len
	case kindName:
		var n [1]byte
		if _, err := io.ReadFull(conn, n[:]); err != nil {
			return nil, p.broke(err)
		}
		size = int(n[0])
	default:
		return nil, fault.New(fault.Unreachable, "%s: answers with an address of unknown kind %d", p, head[3])
	}
	// Where the proxy connects from is of no interest.
	if _, err := io.ReadFull(conn, make([]byte, size+2)); err != nil {
		return nil, p.broke(err)
	}
	return conn, nil
}

// socksLogin agrees on a way to log in and goes it.
func (p *proxy) socksLogin(conn net.Conn) error {
	methods := []byte{methodOpen}
	if p.User != "" {
		methods = []byte{methodOpen, methodLogin}
	}
	if _, err := conn.Write(append([]byte{socksVersion, byte(len(methods))}, methods...)); err != nil {
		return p.broke(err)
	}
	var chosen [2]byte
	if _, err := io.ReadFull(conn, chosen[:]); err != nil {
		return p.broke(err)
	}
	if chosen[0] != socksVersion {
		return p.noSOCKS(chosen[0])
	}
	switch {
	case chosen[1] == methodOpen:
		return nil
	case chosen[1] != methodLogin || p.User == "":
		what := "without a user and password"
		if p.User != "" {
			what = "with a user and password"
		}
		return fault.New(fault.RouteRefused, "%s: does not let us in %s", p, what)
	}
	user, password := p.User, p.Password.Reveal()
	if len(user) > maxCounted || len(password) > maxCounted || password == "" {
		return fault.New(fault.Config, "%s: SOCKS5 wants a user and password of 1 to %d bytes", p, maxCounted)
	}
	msg := append([]byte{loginVersion, byte(len(user))}, user...)
	msg = append(append(msg, byte(len(password))), password...)
	if _, err := conn.Write(msg); err != nil {
		return p.broke(err)
	}
	var answer [2]byte
	if _, err := io.ReadFull(conn, answer[:]); err != nil {
		return p.broke(err)
	}
	if answer[1] != 0 {
		return fault.New(fault.RouteRefused, "%s: refuses user %q and its password", p, user)
	}
	return nil
}

func (p *proxy) noSOCKS(first byte) error {
	return fault.New(fault.Unreachable, "%s: does not answer as a SOCKS5 proxy does: it begins with byte %d, want %d", p, first, socksVersion)
}

// socksAddress is "host:port" in the proxy's terms.
func socksAddress(to string) ([]byte, error) {
	host, text, err := net.SplitHostPort(to)
	if err != nil {
		return nil, err
	}
	port, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return nil, err
	}
	var out []byte
	if ip, err := netip.ParseAddr(host); err == nil {
		ip = ip.Unmap().WithZone("")
		kind := byte(kindIPv6)
		if ip.Is4() {
			kind = kindIPv4
		}
		out = append([]byte{kind}, ip.AsSlice()...)
	} else {
		if host == "" || len(host) > maxCounted {
			return nil, fault.New(fault.Config, "a name of %d bytes", len(host))
		}
		out = append([]byte{kindName, byte(len(host))}, host...)
	}
	return binary.BigEndian.AppendUint16(out, uint16(port)), nil
}
