package forward

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"
)

// SOCKS5 (RFC 1928) with a user name and password (RFC 1929), CONNECT only.
// SOCKS4a is left out: it has no password. It is our own because the libraries
// have rested for years or bring servers, resolvers and UDP of their own, for
// what is three messages.
const (
	socksVersion  = 5
	loginVersion  = 1
	methodLogin   = 2
	methodNone    = 0xff
	connect       = 1
	kindIPv4      = 1
	kindName      = 3
	kindIPv6      = 4
	done          = 0
	failed        = 1
	noNetwork     = 3
	noHost        = 4
	refused       = 5
	unknownVerb   = 7
	unknownKind   = 8
	loginAccepted = 0
	loginRefused  = 1
)

func askSOCKS(conn net.Conn, r *bufio.Reader, want Proxy) (request, error) {
	if err := loginSOCKS(conn, r, want); err != nil {
		return request{}, err
	}
	var head [4]byte // version, verb, reserved, kind of address
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return request{}, err
	}
	if head[0] != socksVersion {
		return request{}, fmt.Errorf("socks: version %d in the request", head[0])
	}
	if head[1] != connect {
		return request{}, errors.Join(fmt.Errorf("socks: verb %d, only CONNECT is served", head[1]), answer(conn, unknownVerb))
	}
	host, err := socksHost(r, head[3])
	if errors.Is(err, errKind) {
		return request{}, errors.Join(err, answer(conn, unknownKind))
	}
	if err != nil {
		return request{}, err
	}
	var port [2]byte
	if _, err := io.ReadFull(r, port[:]); err != nil {
		return request{}, err
	}
	to, err := hostPort(host, int(binary.BigEndian.Uint16(port[:])))
	if err != nil {
		return request{}, errors.Join(err, answer(conn, failed))
	}
	return request{
		to:     to,
		refuse: func(client net.Conn, why error) { _ = answer(client, code(why)) }, // the client sees the end in any case
		begin:  func(client, _ net.Conn) error { return answer(client, done) },
	}, nil
}

// loginSOCKS agrees on the one way to log in and goes it.
func loginSOCKS(conn net.Conn, r *bufio.Reader, want Proxy) error {
	if _, err := r.Discard(1); err != nil { // the version, seen before
		return err
	}
	methods, err := counted(r)
	if err != nil {
		return err
	}
	if !bytes.Contains(methods, []byte{methodLogin}) {
		_, err := conn.Write([]byte{socksVersion, methodNone})
		return errors.Join(errors.New("socks: the client offers no password"), err)
	}
	if _, err := conn.Write([]byte{socksVersion, methodLogin}); err != nil {
		return err
	}
	version, err := r.ReadByte()
	if err != nil {
		return err
	}
	if version != loginVersion {
		return fmt.Errorf("socks: login of version %d", version)
	}
	user, err := counted(r)
	if err != nil {
		return err
	}
	password, err := counted(r)
	if err != nil {
		return err
	}
	if !want.knows(user, password) {
		_, err := conn.Write([]byte{loginVersion, loginRefused})
		return errors.Join(errors.New("socks: wrong password"), err)
	}
	_, err = conn.Write([]byte{loginVersion, loginAccepted})
	return err
}

var errKind = errors.New("socks: unknown kind of address")

func socksHost(r *bufio.Reader, kind byte) (string, error) {
	size := map[byte]int{kindIPv4: net.IPv4len, kindIPv6: net.IPv6len}[kind]
	if kind == kindName {
		name, err := counted(r)
		return string(name), err
	}
	if size == 0 {
		return "", errKind
	}
	ip := make(net.IP, size)
	_, err := io.ReadFull(r, ip)
	return ip.String(), err
}

// counted reads a byte and as many bytes as it says.
func counted(r *bufio.Reader) ([]byte, error) {
	n, err := r.ReadByte()
	if err != nil {
		return nil, err
	}
	b := make([]byte, n)
	_, err = io.ReadFull(r, b)
	return b, err
}

// answer writes the outcome. The address in it, which clients ignore, is zero.
func answer(conn net.Conn, outcome byte) error {
	_, err := conn.Write([]byte{socksVersion, outcome, 0, kindIPv4, 0, 0, 0, 0, 0, 0})
	return err
}

// code is the outcome that says why a connection failed.
func code(err error) byte {
	var dns *net.DNSError
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return refused
	case errors.Is(err, syscall.ENETUNREACH):
		return noNetwork
	case errors.As(err, &dns), errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, context.DeadlineExceeded):
		return noHost
	}
	return failed
}
