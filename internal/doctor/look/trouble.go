package look

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"syscall"

	"outrigger.dev/outrigger/internal/doctor"
	"outrigger.dev/outrigger/internal/fault"
)

// trouble says of an error what was in the way, as far as errors tell that apart.
func trouble(err error) *doctor.Trouble {
	return &doctor.Trouble{Reason: reasonOf(err), Text: text(err)}
}

func reasonOf(err error) doctor.Reason {
	var dns *net.DNSError
	var cert *tls.CertificateVerificationError
	var record tls.RecordHeaderError
	var authority x509.UnknownAuthorityError
	var host x509.HostnameError
	var invalid x509.CertificateInvalidError
	switch {
	case fault.Is(err, fault.RouteRefused):
		return doctor.WayRefused
	case errors.As(err, &dns) && dns.IsNotFound:
		return doctor.NoName
	case errors.As(err, &dns):
		return doctor.NameDown
	case errors.As(err, &host):
		return doctor.OtherName
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return doctor.CertExpired
	case errors.As(err, &authority), errors.As(err, &cert), errors.As(err, &invalid):
		return doctor.Untrusted
	case errors.As(err, &record):
		return doctor.NotTLS
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		return doctor.Silent
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return doctor.Closed
	}
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return ofErrno(errno)
	}
	return doctor.Other
}

// behind says the same of an error on a way that others make for us: what they cannot reach
// is not what we cannot.
func behind(t *doctor.Trouble) *doctor.Trouble {
	if t.Reason != doctor.WayRefused {
		t.Reason = doctor.WayDown
	}
	return t
}

// text is an error without the address, which is told already.
func text(err error) string {
	var op *net.OpError
	var f *fault.Error
	var dns *net.DNSError
	switch {
	case errors.As(err, &dns):
		return dns.Err
	case errors.As(err, &f):
		return f.Text
	case errors.As(err, &op) && op.Err != nil:
		err = op.Err
	}
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return errno.Error()
	}
	return strings.ReplaceAll(err.Error(), "\n", "; ")
}
