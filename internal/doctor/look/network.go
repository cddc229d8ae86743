package look

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/netip"
	"strings"
	"time"

	"outrigger.dev/outrigger/internal/doctor"
	"outrigger.dev/outrigger/internal/reach/via"
)

// lookUp asks for the addresses of the target's name.
func lookUp(ctx context.Context, f *doctor.Facts) {
	if f.Target.Behind() != "" {
		return // who is on the way looks it up
	}
	if a, err := netip.ParseAddr(f.Target.Host); err == nil {
		f.Lookup = &doctor.Lookup{Literal: true, IPs: []string{a.String()}}
		return
	}
	ctx, cancel := context.WithTimeout(ctx, dialLimit)
	defer cancel()
	ips, err := net.DefaultResolver.LookupHost(ctx, f.Target.Host)
	f.Lookup = &doctor.Lookup{IPs: ips}
	if err != nil {
		f.Lookup.Trouble = trouble(err)
	}
}

// route asks the system which way packets would leave. None does: connecting a UDP socket
// only chooses.
func route(ctx context.Context, f *doctor.Facts) {
	if f.Target.Behind() != "" || f.Lookup == nil || len(f.Lookup.IPs) == 0 {
		return
	}
	var first *doctor.Route
	for _, ip := range f.Lookup.IPs { // of a name with addresses of both families one may do
		r := routeTo(ctx, ip)
		if r.Trouble == nil {
			f.Route = r
			return
		}
		if first == nil {
			first = r
		}
	}
	f.Route = first
}

func routeTo(ctx context.Context, ip string) *doctor.Route {
	r := &doctor.Route{IP: ip}
	conn, err := new(net.Dialer).DialContext(ctx, "udp", net.JoinHostPort(ip, "9"))
	if err != nil {
		r.Trouble = trouble(err)
		return r
	}
	defer conn.Close()
	local, ok := conn.LocalAddr().(*net.UDPAddr)
	if !ok {
		return r
	}
	r.Source = local.IP.String()
	all, err := net.Interfaces()
	if err != nil {
		return r // its name is for people only
	}
	for _, i := range all {
		addresses, err := i.Addrs()
		if err != nil {
			continue
		}
		for _, a := range addresses {
			if n, ok := a.(*net.IPNet); ok && n.IP.Equal(local.IP) {
				r.Interface = i.Name
			}
		}
	}
	return r
}

// connect opens a TCP connection to the target, which the caller closes.
func connect(ctx context.Context, f *doctor.Facts, dial via.DialFunc) net.Conn {
	began := time.Now()
	limit, cancel := context.WithTimeout(ctx, dialLimit)
	defer cancel()
	conn, err := dial(limit, "tcp", f.Target.Address())
	f.Dial = &doctor.Dial{Took: time.Since(began), Limit: dialLimit}
	if err != nil {
		f.Dial.Trouble = trouble(err)
		if limit.Err() != nil {
			f.Dial.Trouble.Reason = doctor.Silent
		}
		if f.Target.Behind() != "" {
			behind(f.Dial.Trouble)
		} else if ip := failedIP(err); ip != "" {
			f.Dial.IP = ip
		}
		return nil
	}
	if a, ok := conn.RemoteAddr().(*net.TCPAddr); ok && f.Target.Behind() == "" {
		f.Dial.IP = a.IP.String()
	}
	return conn
}

// failedIP is the address that a connection was tried to.
func failedIP(err error) string {
	var op *net.OpError
	if !errors.As(err, &op) || op.Addr == nil {
		return ""
	}
	host, _, err := net.SplitHostPort(op.Addr.String())
	if err != nil {
		return ""
	}
	return host
}

// tcp tells whether a connection comes about.
func tcp(ctx context.Context, f *doctor.Facts, dial via.DialFunc) {
	if conn := connect(ctx, f, dial); conn != nil {
		conn.Close()
	}
}

// secure makes a TLS handshake and looks at the certificate.
func secure(ctx context.Context, f *doctor.Facts, dial via.DialFunc, ca string) {
	if f.Target.Scheme != "https" {
		return
	}
	f.TLS = &doctor.TLS{}
	conn := connect(ctx, f, dial)
	if conn == nil {
		f.TLS.Trouble = f.Dial.Trouble
		return
	}
	defer conn.Close()
	config := &tls.Config{ServerName: f.Target.Host, MinVersion: tls.VersionTLS12}
	if ca != "" {
		config.RootCAs = x509.NewCertPool()
		config.RootCAs.AppendCertsFromPEM([]byte(ca)) // that it is PEM was checked with the configuration
	}
	limit, cancel := context.WithTimeout(ctx, dialLimit)
	defer cancel()
	c := tls.Client(conn, config)
	err := c.HandshakeContext(limit)
	var wrong *tls.CertificateVerificationError
	switch {
	case err == nil:
		certificate(f.TLS, c.ConnectionState().PeerCertificates)
		return
	case errors.As(err, &wrong):
		certificate(f.TLS, wrong.UnverifiedCertificates)
	}
	f.TLS.Trouble = trouble(err)
	if f.TLS.Trouble.Reason == doctor.Silent {
		f.TLS.Trouble = &doctor.Trouble{Reason: doctor.Hung, Text: "connected, and no handshake within " + dialLimit.String()}
	}
}

func certificate(t *doctor.TLS, chain []*x509.Certificate) {
	if len(chain) == 0 {
		return
	}
	c := chain[0]
	t.Subject, t.Names, t.Issuer, t.Ends = c.Subject.CommonName, c.DNSNames, c.Issuer.CommonName, c.NotAfter
	for _, ip := range c.IPAddresses {
		t.Names = append(t.Names, ip.String())
	}
	if t.Issuer == "" {
		t.Issuer = strings.Join(c.Issuer.Organization, ", ")
	}
}
