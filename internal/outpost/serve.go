package outpost

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"time"

	"outrigger.dev/outrigger/internal/outpost/allow"
)

// askLimit bounds how long a stream may take to say what it wants, connectLimit
// a connection inside. The hub asks the next outpost after a little more.
const (
	askLimit     = 10 * time.Second
	connectLimit = 8 * time.Second
)

// serve connects where the hub asks until the session or ctx ends.
func serve(ctx context.Context, s *Session, list allow.List, log *slog.Logger) error {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer s.Close()
	defer cancel()
	for {
		st, err := s.mux.AcceptStreamWithContext(ctx)
		if err != nil {
			return err
		}
		wg.Go(func() {
			conn := &stream{st}
			defer conn.Close()
			serveOne(ctx, conn, list, log)
		})
	}
}

func serveOne(ctx context.Context, conn *stream, list allow.List, log *slog.Logger) {
	var req request
	if err := conn.SetReadDeadline(time.Now().Add(askLimit)); err != nil {
		return // the session is over
	}
	if err := readFrame(conn, &req); err != nil {
		log.Debug("bad request", "error", err)
		return
	}
	if err := conn.SetReadDeadline(time.Time{}); err != nil {
		return
	}
	inside, err := connect(ctx, req.To, list)
	var refused *Refusal
	if errors.As(err, &refused) {
		log.Info("not connected", "to", req.To, "cause", refused.Text)
		_ = writeFrame(conn, answer{refused.Code, refused.Text}) // it fails if the hub is gone
		return
	}
	defer inside.Close()
	if err := writeFrame(conn, answer{}); err != nil {
		return
	}
	log.Debug("connected", "to", req.To)
	Join(ctx, conn, inside)
}

// connect dials inside. Its errors are Refusals.
func connect(ctx context.Context, to string, list allow.List) (net.Conn, error) {
	a, err := allow.ParseAddress(to)
	if err != nil {
		return nil, &Refusal{BadRequest, err.Error()}
	}
	ctx, cancel := context.WithTimeout(ctx, connectLimit)
	defer cancel()
	ips, err := resolve(ctx, a.Host)
	if err != nil {
		return nil, &Refusal{NoName, fmt.Sprintf("name %q: %v", a.Host, dnsReason(err))}
	}
	if !list.Allows(a) {
		// A name that is not on the list itself may lead to addresses that are. Only
		// those are dialled, and by their number, so that no second answer of DNS counts.
		allowed := ips[:0]
		for _, ip := range ips {
			if list.AllowsIP(ip, a.Port) {
				allowed = append(allowed, ip)
			}
		}
		if ips = allowed; len(ips) == 0 {
			return nil, &Refusal{Prohibited, fmt.Sprintf("%s is not in the outpost's list of allowed addresses (--allow)", a)}
		}
	}
	var last error
	for _, ip := range ips {
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", netip.AddrPortFrom(ip, a.Port).String())
		if err == nil {
			return conn, nil
		}
		last = err
	}
	return nil, refusal(a, last)
}

func resolve(ctx context.Context, host string) ([]netip.Addr, error) {
	if ip, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{ip}, nil
	}
	return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
}

func dnsReason(err error) string {
	var dns *net.DNSError
	if errors.As(err, &dns) {
		return dns.Err
	}
	return err.Error()
}

// refusal puts the reason for which no connection came about into a Code.
func refusal(a allow.Address, err error) *Refusal {
	r := &Refusal{Unavailable, fmt.Sprintf("%s: %v", a, err)}
	var errno syscall.Errno
	var timeout net.Error
	switch {
	case errors.As(err, &timeout) && timeout.Timeout():
		r.Code, r.Text = TimedOut, fmt.Sprintf("%s: no answer within %v", a, connectLimit)
	case errors.As(err, &errno):
		r.Text = fmt.Sprintf("%s: %v", a, errno)
		switch errno {
		case syscall.ECONNREFUSED:
			r.Code = Refused
		case syscall.ENETUNREACH, syscall.EHOSTUNREACH:
			r.Code = Unroutable
		}
	}
	return r
}
