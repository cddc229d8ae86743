package orkaapi

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/http"
	"time"

	"outrigger.dev/outrigger/internal/fault"
)

// Fault puts err, which came of doing what, into the words of package fault: mistakes are
// ProviderRefused with Orka's own words, outages ProviderDown.
func (c *Client) Fault(what string, err error) error {
	if err == nil {
		return nil
	}
	var f *fault.Error
	if errors.As(err, &f) {
		return err
	}
	var r *Refusal
	switch {
	case errors.As(err, &r):
		return c.refused(what, r)
	case IsTLS(err):
		return fault.New(fault.ProviderRefused, "orka: %s: %s: %w", what, c.Endpoint, err).
			WithRemedy("Give the certificate authority of the cluster as caFile, or the address that its certificate names.")
	case errors.Is(err, errNotJSON):
		return fault.New(fault.ProviderDown, "orka: %s: %s: %w", what, c.Endpoint, err).
			WithRemedy("Check the endpoint: something answers there that is no Orka.")
	}
	return fault.New(fault.ProviderDown, "orka: %s: %s does not answer: %w", what, c.Endpoint, short(err)).
		WithRemedy("Check the endpoint, and the VPN or route to it.")
}

func (c *Client) refused(what string, r *Refusal) error {
	switch {
	case r.Code == http.StatusUnauthorized:
		return fault.New(fault.ProviderRefused, "orka: %s: the token is refused%s: %w", what, c.ended(), r).
			WithRemedy("Make a new one: orka3 serviceaccount token NAME. A user's own token ends after an hour; an upgrade of Orka may end others.")
	case r.Code == http.StatusForbidden:
		return fault.New(fault.ProviderRefused, "orka: %s: %w", what, r).
			WithRemedy("Orka's own words say what it wants: a right that the token lacks (orka3 rb add-subject), or another value.")
	case r.Code >= 300 && r.Code < 400, r.Code == http.StatusNotFound:
		return fault.New(fault.ProviderRefused, "orka: %s: %s answers %w", what, c.Endpoint, r).
			WithRemedy("Check the endpoint and the namespace. Orka 3 or newer is wanted: older ones have another API.")
	case Passing(r):
		return fault.New(fault.ProviderDown, "orka: %s: %w", what, r)
	}
	return fault.New(fault.ProviderRefused, "orka: %s: %w", what, r)
}

// ended tells when the token ended, if it did.
func (c *Client) ended() string {
	end, ok := Expires(c.who.current())
	if !ok || c.Now().Before(end) {
		return ""
	}
	return ", it ended on " + end.Format(time.RFC3339)
}

// IsTLS tells whether a connection failed because of who answered, which no patience mends.
func IsTLS(err error) bool {
	var cert *tls.CertificateVerificationError
	var host x509.HostnameError
	var authority x509.UnknownAuthorityError
	var record tls.RecordHeaderError
	return errors.As(err, &cert) || errors.As(err, &host) || errors.As(err, &authority) || errors.As(err, &record)
}

// short leaves out the address, which is in our own text already.
func short(err error) error {
	var op *net.OpError
	if errors.As(err, &op) && op.Err != nil {
		return op.Err
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return context.DeadlineExceeded
	}
	return err
}
