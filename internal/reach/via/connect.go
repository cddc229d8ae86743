package via

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"

	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/sanitize"
)

// maxHead bounds what a proxy may answer before the connection begins.
const maxHead = 8 << 10

// connect asks an HTTP proxy for a connection (RFC 9110, section 9.3.6). The
// standard library's client is left out: the relay does without net/http.
func (p *proxy) connect(_ context.Context, conn net.Conn, to string) (net.Conn, error) {
	req := "CONNECT " + to + " HTTP/1.1\r\nHost: " + to + "\r\n"
	if p.User != "" || !p.Password.Empty() {
		login := base64.StdEncoding.EncodeToString([]byte(p.User + ":" + p.Password.Reveal()))
		req += "Proxy-Authorization: Basic " + login + "\r\n"
	}
	if strings.ContainsAny(to, " \r\n") {
		return nil, fault.New(fault.Config, "%s: %q is no address", p, to)
	}
	if _, err := io.WriteString(conn, req+"\r\n"); err != nil {
		return nil, p.broke(err)
	}
	head, err := readHead(conn)
	if err != nil {
		return nil, p.broke(err)
	}
	status, text, err := parseStatus(head)
	if err != nil {
		return nil, fault.New(fault.Unreachable, "%s: does not answer as an HTTP proxy does: %w", p, &StepError{err})
	}
	if status >= 200 && status < 300 {
		return conn, nil
	}
	why := text
	if details := proxyStatus(head); details != "" {
		why = details
	}
	kind := fault.Unreachable
	if status == 401 || status == 403 || status == 405 || status == 407 {
		kind = fault.RouteRefused
	}
	return nil, fault.New(kind, "%s: %s: %s (HTTP status %d)", p, to, why, status)
}

// readHead reads the lines up to the empty one, and not a byte more: what
// follows belongs to the connection. They come in one packet, so that reading
// them singly costs a few hundred calls once.
func readHead(r io.Reader) ([]string, error) {
	var head []byte
	one := make([]byte, 1)
	for !strings.HasSuffix(string(head), "\r\n\r\n") && !strings.HasSuffix(string(head), "\n\n") {
		if len(head) == maxHead {
			return nil, fmt.Errorf("more than %d bytes before the connection begins", maxHead)
		}
		if _, err := io.ReadFull(r, one); err != nil {
			if errors.Is(err, io.EOF) && len(head) > 0 {
				err = io.ErrUnexpectedEOF
			}
			return nil, err
		}
		head = append(head, one[0])
	}
	return strings.Split(strings.ReplaceAll(strings.TrimSpace(string(head)), "\r\n", "\n"), "\n"), nil
}

// parseStatus understands "HTTP/1.1 200 Connection established".
func parseStatus(head []string) (status int, text string, err error) {
	version, rest, ok := strings.Cut(head[0], " ")
	code, text, _ := strings.Cut(rest, " ")
	status, err = strconv.Atoi(code)
	if !ok || !strings.HasPrefix(version, "HTTP/1.") || err != nil || status < 100 || status > 599 {
		return 0, "", fmt.Errorf("%.60q", head[0])
	}
	if text == "" {
		text = "refused"
	}
	return status, sanitize.Line(text, maxWords), nil
}

// proxyStatus returns what the field Proxy-Status (RFC 9209) says in words.
func proxyStatus(head []string) string {
	for _, line := range head[1:] {
		name, value, _ := strings.Cut(line, ":")
		if !strings.EqualFold(strings.TrimSpace(name), "Proxy-Status") {
			continue
		}
		_, rest, ok := strings.Cut(value, `details="`)
		if !ok {
			continue
		}
		var out []byte
		for i := 0; i < len(rest) && rest[i] != '"'; i++ {
			if rest[i] == '\\' && i+1 < len(rest) {
				i++
			}
			out = append(out, rest[i])
		}
		return sanitize.Line(string(out), maxWords)
	}
	return ""
}

// maxWords bounds what a proxy has to say.
const maxWords = 300

// tls prepares the client's half of an https proxy.
func (p *proxy) tls() (*tls.Config, error) {
	config := &tls.Config{ServerName: p.host, MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}}
	if p.CA != "" {
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM([]byte(p.CA)) {
			return nil, fault.New(fault.Config, "%s: its CA holds no certificate in PEM format", p)
		}
	}
	return config, nil
}

// secure puts TLS on conn.
func (p *proxy) secure(ctx context.Context, conn net.Conn, config *tls.Config) (net.Conn, error) {
	secure := tls.Client(conn, config)
	err := secure.HandshakeContext(ctx)
	var wrong *tls.CertificateVerificationError
	if errors.As(err, &wrong) {
		return nil, fault.New(fault.RouteRefused, "%s: its certificate is not vouched for: %w", p, &StepError{wrong.Err}).
			WithRemedy("Nothing was sent. Give the right CA (caFile), or the name that the certificate is for.")
	}
	if err != nil {
		return nil, p.broke(err)
	}
	return secure, nil
}

// broke is the fault of a proxy that ended the talk.
func (p *proxy) broke(err error) error {
	if errors.Is(err, io.EOF) {
		return fault.New(fault.Unreachable, "%s: closed the connection without an answer: %w", p, &StepError{err})
	}
	return fault.New(fault.Unreachable, "%s: %w", p, &StepError{reason(err)})
}
