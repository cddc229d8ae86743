package forward

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"strconv"
	"strings"
)

// The HTTP side of the proxy: CONNECT, and requests with an absolute URI. A
// plain request is sent on with "Connection: close" and everything after its head
// as it comes, so one connection carries one request and bodies need not be
// understood. net/http is not linked for that: the relay is in every Pod.

// askHTTP reads a request's head.
func askHTTP(conn net.Conn, r *bufio.Reader, want Proxy) (request, error) {
	lines, err := head(r)
	if err != nil {
		return request{}, errors.Join(err, say(conn, "400 Bad Request", "", err.Error()))
	}
	method, rest, _ := strings.Cut(lines[0], " ")
	target, version, ok := strings.Cut(rest, " ")
	if !ok || !strings.HasPrefix(version, "HTTP/1.") {
		err := errors.New("proxy: neither SOCKS5 with a password nor HTTP/1")
		return request{}, errors.Join(err, say(conn, "400 Bad Request", "", err.Error()))
	}
	if !authorized(lines[1:], want) {
		const why = "proxy: wrong password, or none: use the address in HTTP_PROXY"
		return request{}, errors.Join(errors.New(why),
			say(conn, "407 Proxy Authentication Required", "Proxy-Authenticate: Basic realm=\"outrigger\"\r\n", why))
	}
	refuse := func(client net.Conn, why error) {
		_ = say(client, "502 Bad Gateway", "", "proxy: no connection from the Pod: "+why.Error()) // the client sees the end in any case
	}
	if method == "CONNECT" {
		to, err := address(target, "")
		if err != nil {
			return request{}, errors.Join(err, say(conn, "400 Bad Request", "", err.Error()))
		}
		return request{to: to, refuse: refuse, begin: func(client, _ net.Conn) error {
			_, err := io.WriteString(client, "HTTP/1.1 200 Connection established\r\n\r\n")
			return err
		}}, nil
	}
	u, err := url.Parse(target)
	if err != nil || u.Scheme != "http" || u.Host == "" {
		err := fmt.Errorf("proxy: %s: want an address that begins with http://, or CONNECT", method)
		return request{}, errors.Join(err, say(conn, "400 Bad Request", "", err.Error()))
	}
	to, err := address(u.Host, "80")
	if err != nil {
		return request{}, errors.Join(err, say(conn, "400 Bad Request", "", err.Error()))
	}
	sent := rewrite(method, u, version, lines[1:])
	return request{to: to, refuse: refuse, begin: func(_, far net.Conn) error {
		_, err := io.WriteString(far, sent)
		return err
	}}, nil
}

// head reads up to the empty line.
func head(r *bufio.Reader) ([]string, error) {
	var lines []string
	for size := 0; ; {
		line, err := r.ReadSlice('\n')
		if errors.Is(err, bufio.ErrBufferFull) {
			err = errors.New("proxy: head of the request too long")
		}
		if err != nil {
			return nil, err
		}
		if size += len(line); size > headLimit {
			return nil, errors.New("proxy: head of the request too long")
		}
		line = bytes.TrimRight(line, "\r\n")
		if len(line) > 0 {
			lines = append(lines, string(line))
			continue
		}
		if len(lines) > 0 {
			return lines, nil
		}
	}
}

// field splits a line of the head; the name comes in lower case.
func field(line string) (name, value string) {
	name, value, _ = strings.Cut(line, ":")
	return strings.ToLower(strings.TrimSpace(name)), strings.TrimSpace(value)
}

func authorized(fields []string, want Proxy) bool {
	for _, line := range fields {
		name, value := field(line)
		if name != "proxy-authorization" {
			continue
		}
		scheme, encoded, _ := strings.Cut(value, " ")
		plain, err := base64.StdEncoding.DecodeString(strings.TrimSpace(encoded))
		user, password, ok := bytes.Cut(plain, []byte(":"))
		if err == nil && ok && strings.EqualFold(scheme, "basic") && want.knows(user, password) {
			return true
		}
	}
	return false
}

// rewrite returns the head as the server gets it: what is meant for the proxy
// is gone.
func rewrite(method string, u *url.URL, version string, fields []string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s %s\r\nHost: %s\r\n", method, u.RequestURI(), version, u.Host)
	var upgrade bool
	for _, line := range fields {
		name, _ := field(line)
		upgrade = upgrade || name == "upgrade"
	}
	for _, line := range fields {
		switch name, _ := field(line); name {
		case "host", "keep-alive", "proxy-connection", "proxy-authorization":
			continue
		case "connection":
			if !upgrade {
				continue
			}
		}
		b.WriteString(line + "\r\n")
	}
	if !upgrade {
		b.WriteString("Connection: close\r\n")
	}
	b.WriteString("\r\n")
	return b.String()
}

// address splits and checks "host:port"; preset is the port if there is none.
func address(given, preset string) (string, error) {
	host, port, err := net.SplitHostPort(given)
	if err != nil && preset != "" {
		host, port = strings.Trim(given, "[]"), preset
	}
	number, bad := strconv.Atoi(port)
	if bad != nil {
		return "", fmt.Errorf("proxy: %q: want HOST:PORT", given)
	}
	return hostPort(host, number)
}

// say answers in the proxy's own name and ends.
func say(conn net.Conn, status, fields, text string) error {
	text += "\n"
	_, err := fmt.Fprintf(conn, "HTTP/1.1 %s\r\n%sContent-Type: text/plain\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s", status, fields, len(text), text)
	return err
}
