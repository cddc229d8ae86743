// Package outpost is one process inside of a private network that dials out to
// a hub and then connects, inside, to what the hub asks for and its own list
// allows. It opens no port and needs no privilege.
//
// Between the two is a session: TLS, in it a WebSocket, in it yamux. Each stream of
// it is one TCP connection inside. Package hub is the other end.
package outpost

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/coder/websocket"

	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/machine"
	"outrigger.dev/outrigger/internal/outpost/allow"
)

// A Config says which hub, and what is allowed inside.
type Config struct {
	Hub   string                         // "https://HOST[:PORT]"
	Token func() (machine.Secret, error) // asked at each dial, so that it can be replaced
	Allow allow.List
	CA    string       // PEM certificates that vouch for the hub; "": the system's
	Log   *slog.Logger // nil: silent
}

// Path is where a hub waits for outposts.
const Path = "/outpost"

// Protocol is the WebSocket subprotocol: a session that is not understood is not begun.
const Protocol = "outrigger-outpost-1"

// Back-off between dials: at once for a hub that restarted, seldom for one that
// is gone. lastPause bounds how late an outpost comes back.
const (
	firstPause = 500 * time.Millisecond
	lastPause  = 15 * time.Second
	dialLimit  = 20 * time.Second // to the hub: a guess, as in package reach
)

// Run keeps a session with the hub until ctx ends. A hub that refuses before the
// first session began ends it with a fault; later that is only logged, since
// a token may be about to be replaced.
func Run(ctx context.Context, cfg Config) error {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	d, err := newDialer(cfg)
	if err != nil {
		return err
	}
	log := cfg.Log.With("hub", d.url.Host)
	pause, once := firstPause, false
	for {
		began, err := d.session(ctx, log)
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case began:
			once, pause = true, firstPause
			log.Info("session ended", "cause", err)
		case !once && fault.Of(err) != fault.Unreachable:
			return err
		default:
			log.Warn("no session", "cause", err, "again in", pause.Round(time.Millisecond))
		}
		// Many outposts of a hub that restarted do not come in step.
		wait := pause/2 + rand.N(pause/2+1)
		pause = min(2*pause, lastPause)
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(wait):
		}
	}
}

type dialer struct {
	cfg  Config
	url  *url.URL
	http *http.Client
}

func newDialer(cfg Config) (*dialer, error) {
	u, err := url.Parse(cfg.Hub)
	if err != nil || u.Scheme != "https" || u.Hostname() == "" || u.User != nil || strings.Trim(u.Path, "/") != "" {
		return nil, fault.New(fault.Usage, "outpost: hub %q: want https://HOST or https://HOST:PORT", cfg.Hub)
	}
	if cfg.Allow.Empty() {
		return nil, fault.New(fault.Usage, "outpost: no address is allowed: want at least one --allow HOST:PORTS")
	}
	u.Path = Path
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if cfg.CA != "" {
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM([]byte(cfg.CA)) {
			return nil, fault.New(fault.Config, "outpost: the CA file holds no certificate in PEM format")
		}
	}
	return &dialer{cfg: cfg, url: u, http: &http.Client{
		// The way out of such a network is often a proxy: HTTPS_PROXY names it.
		Transport: &http.Transport{TLSClientConfig: config, Proxy: http.ProxyFromEnvironment, TLSHandshakeTimeout: dialLimit},
		CheckRedirect: func(*http.Request, []*http.Request) error {
			return errors.New("the hub redirects: the token goes nowhere else") // it would, with the request
		},
	}}, nil
}

// session dials the hub and serves it. began tells whether the hub let us in.
func (d *dialer) session(ctx context.Context, log *slog.Logger) (began bool, err error) {
	ws, err := d.dial(ctx)
	if err != nil {
		return false, err
	}
	s, err := NewSession(ctx, ws, false)
	if err != nil {
		return false, err
	}
	log.Info("session begins", "allow", d.cfg.Allow.String())
	return true, serve(ctx, s, d.cfg.Allow, log)
}

func (d *dialer) dial(ctx context.Context) (*websocket.Conn, error) {
	token, err := d.cfg.Token()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, dialLimit)
	defer cancel()
	ws, resp, err := websocket.Dial(ctx, d.url.String(), &websocket.DialOptions{ //nolint:bodyclose // the library says that it need not be closed
		HTTPClient:   d.http,
		HTTPHeader:   http.Header{"Authorization": {"Bearer " + token.Reveal()}, "User-Agent": {"outrigger-outpost"}},
		Subprotocols: []string{Protocol},
	})
	if err == nil && ws.Subprotocol() != Protocol {
		_ = ws.CloseNow() // nothing was said on it
		return nil, fault.New(fault.Protocol, "outpost: hub %s: does not speak %s: is it a hub, and of this version?", d.url.Host, Protocol)
	}
	if err == nil {
		return ws, nil
	}
	return nil, d.explain(resp, err)
}

// maxReason bounds what is shown of a refusal.
const maxReason = 500

func (d *dialer) explain(resp *http.Response, err error) error {
	var wrong *tls.CertificateVerificationError
	if errors.As(err, &wrong) {
		return fault.New(fault.RouteRefused, "outpost: hub %s: its certificate is not vouched for: %w", d.url.Host, wrong.Err).
			WithRemedy("Nothing was sent. Give the right CA with --ca-file, or the name that the certificate is for.")
	}
	if resp == nil || resp.StatusCode == http.StatusSwitchingProtocols {
		return fault.New(fault.Unreachable, "outpost: hub %s: %w", d.url.Host, err)
	}
	text, rerr := io.ReadAll(io.LimitReader(resp.Body, maxReason))
	why := strings.TrimSpace(string(text))
	if rerr != nil || why == "" {
		why = resp.Status
	}
	kind := fault.Unreachable // an Ingress whose hub restarts answers 502 to 504
	if resp.StatusCode == http.StatusUnauthorized || resp.StatusCode == http.StatusForbidden {
		kind = fault.RouteRefused
	}
	return fault.New(kind, "outpost: hub %s: %s", d.url.Host, fmt.Sprintf("%q (HTTP status %d)", why, resp.StatusCode))
}
