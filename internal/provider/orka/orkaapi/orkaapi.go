// Package orkaapi speaks to MacStadium Orka 3, through both of its doors: the REST
// API under /api/v1, and the cluster's Kubernetes API with the objects of
// orka.macstadium.com/v1.
//
// It is written by hand instead of on client-go: both doors answer with the same
// Kubernetes Status, take the same token, and are tried again by the same rules, so
// one small client serves both; and five verbs of one group need no scheme,
// no discovery and no cache. What it reads it reads generously: fields that are not known
// are passed over, numbers may come as text and text as numbers. What is
// assumed without a source is in [Doubts] and nowhere else.
package orkaapi

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/machine"
	"outrigger.dev/outrigger/internal/version"
)

// Options say where an Orka is and who asks.
type Options struct {
	Endpoint string // "http://10.221.188.20"
	Token    machine.Secret
	// Refresh reads the token again, after it was refused; nil: it cannot be.
	Refresh func(context.Context) (machine.Secret, error)
	CA      string // further certificates to trust, PEM; "": the system's
	Fields  Fields
	// DialContext opens connections; nil means TCP.
	DialContext func(ctx context.Context, network, address string) (net.Conn, error)
	Log         *slog.Logger
}

// A Client speaks to one Orka. It may be used by many at once.
type Client struct {
	Options
	rest door
	who  *identity
}

// A door is one of the two APIs: where it is and how it is reached.
type door struct {
	base string // no slash at its end
	http *http.Client
	who  *identity
	log  *slog.Logger
}

// restPath is where the REST API begins.
const restPath = "/api/v1"

// New checks o and returns a client. It contacts nobody.
func New(o Options) (*Client, error) {
	base, err := ParseEndpoint(o.Endpoint)
	if err != nil {
		return nil, err
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	o.Fields = o.Fields.withDefaults()
	c := &Client{Options: o, who: &identity{token: o.Token, refresh: o.Refresh}}
	c.rest = door{base: base + restPath, who: c.who, log: o.Log}
	c.rest.http, err = c.transport(o.CA)
	return c, err
}

// ParseEndpoint returns the endpoint without what people copy along with it.
func ParseEndpoint(s string) (string, error) {
	u, err := url.Parse(strings.TrimSpace(s))
	if err == nil && (u.User != nil || u.RawQuery != "") {
		return "", fault.New(fault.Config, "orka: endpoint on %s: holds a password or a query, which have no place in it", u.Host).
			WithRemedy("Write it as http://10.221.188.20; the token is given as tokenFile, tokenEnv or tokenCommand.")
	}
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return "", fault.New(fault.Config, "orka: endpoint %q: want the URL of an Orka cluster", s).
			WithRemedy("Write it as http://10.221.188.20 or https://COMPANY.orka.app, without a path.")
	}
	path := strings.TrimSuffix(strings.TrimSuffix(strings.TrimRight(u.Path, "/"), "/api/v1/swagger"), "/api/v1")
	return u.Scheme + "://" + u.Host + strings.TrimRight(path, "/"), nil
}

// Limits of one connection. An answer may take as long as its request's context allows:
// a deploy takes minutes.
const (
	dialLimit = 10 * time.Second
	idleLimit = 30 * time.Second // shorter than what a proxy or NAT between remembers
	maxIdle   = 8
)

func (c *Client) transport(ca string) (*http.Client, error) {
	dial := c.DialContext
	if dial == nil {
		dial = (&net.Dialer{Timeout: dialLimit}).DialContext
	}
	t := &http.Transport{
		Proxy: http.ProxyFromEnvironment, DialContext: dial,
		TLSHandshakeTimeout: dialLimit, IdleConnTimeout: idleLimit, MaxIdleConnsPerHost: maxIdle,
		TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12},
	}
	if ca != "" {
		roots := x509.NewCertPool()
		if !roots.AppendCertsFromPEM([]byte(ca)) {
			return nil, fault.New(fault.Config, "orka: the certificate authority is no PEM certificate")
		}
		t.TLSClientConfig.RootCAs = roots
	}
	return &http.Client{
		Transport: t,
		// A token is not carried to wherever an answer points.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}, nil
}

// An identity is the token, and what the answers say of the time there.
type identity struct {
	refresh func(context.Context) (machine.Secret, error)

	mu       sync.Mutex
	token    machine.Secret
	skew     time.Duration // the server's clock against ours
	answered time.Time     // when an Orka last answered
}

func (i *identity) current() machine.Secret {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.token
}

// renew reads the token again and tells whether it is another one than refused.
func (i *identity) renew(ctx context.Context, refused machine.Secret) (bool, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.token.Reveal() != refused.Reveal() {
		return true, nil // somebody else was first
	}
	if i.refresh == nil {
		return false, nil
	}
	fresh, err := i.refresh(ctx)
	if err != nil {
		return false, err
	}
	changed := fresh.Reveal() != i.token.Reveal()
	i.token = fresh
	return changed, nil
}

// heard notes an answer.
func (i *identity) heard(h http.Header) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.answered = time.Now()
	if date, err := http.ParseTime(h.Get("Date")); err == nil {
		i.skew = time.Until(date)
	}
}

func (i *identity) lastHeard() time.Time {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.answered
}

// Now is the time by Orka's clock, as far as its answers have told it. Tokens and the
// ages of VMs are judged by it.
func (c *Client) Now() time.Time { return time.Now().Add(c.Skew()) }

// Skew is how far Orka's clock is ahead of ours, to about a second.
func (c *Client) Skew() time.Duration {
	c.who.mu.Lock()
	defer c.who.mu.Unlock()
	if c.who.skew.Abs() < 2*time.Second {
		return 0 // an HTTP date has whole seconds, and the answer took its time
	}
	return c.who.skew
}

// TokenExpires is when the token in use ends, by our clock: it says so itself, by Orka's. Seconds
// between the two clocks are measured anew with each answer, and are left out.
func (c *Client) TokenExpires() (time.Time, bool) {
	end, ok := Expires(c.who.current())
	if !ok {
		return end, false
	}
	return end.Add(-c.Skew().Round(time.Minute)), true
}

const userAgent = "outrigger/"

func agent() string { return userAgent + version.Version }
