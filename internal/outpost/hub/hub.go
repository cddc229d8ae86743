// Package hub is where outposts and those who want to reach their networks
// meet: one TLS port on which outposts keep sessions, and on which clients ask for
// connections as of any HTTP proxy, with CONNECT, a network for a user name and
// a pass for a password.
//
// A hub keeps no state and asks nobody. What it knows is in one folder, which it
// reads again when that changes; so whatever updates the folder rotates tokens,
// keys and certificates.
package hub

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"outrigger.dev/outrigger/internal/connlimit"
	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/outpost"
	"outrigger.dev/outrigger/internal/reach/via"
)

// A Config says what a hub is made of.
type Config struct {
	Dir     string       // see package comment of settings
	Log     *slog.Logger // nil: silent
	Tunnels via.Tunnels  // for networks behind WireGuard; nil: none

	// Reread is how often the folder is looked at; 0: 5 seconds.
	Reread time.Duration
	// Patience is how long a client waits for an outpost to come back; 0: 10 seconds.
	Patience time.Duration
	// Greet is how long a stranger may take to say who it is; 0: 10 seconds.
	Greet time.Duration
}

const (
	defaultReread   = 5 * time.Second
	defaultPatience = 10 * time.Second // an outpost that dials again after a restart takes one or two
	defaultGreet    = 10 * time.Second
)

// headBytes bounds what strangers may say before they are known.
const headBytes = 16 << 10

// A Hub serves.
type Hub struct {
	cfg      Config
	log      *slog.Logger
	sessions *sessions

	mu  sync.Mutex
	set *settings
}

// New reads the folder.
func New(cfg Config) (*Hub, error) {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Reread == 0 {
		cfg.Reread = defaultReread
	}
	if cfg.Patience == 0 {
		cfg.Patience = defaultPatience
	}
	if cfg.Greet == 0 {
		cfg.Greet = defaultGreet
	}
	set, err := readSettings(cfg.Dir, cfg.Tunnels, nil)
	if err != nil {
		return nil, err
	}
	return &Hub{cfg: cfg, log: cfg.Log, sessions: newSessions(), set: set}, nil
}

// Serve answers on ln until ctx ends; what goes through the hub then breaks.
func (h *Hub) Serve(ctx context.Context, ln net.Listener) error {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer func() { closeWays(h.settings().ways) }()
	defer wg.Wait()
	defer cancel()
	wg.Go(func() { h.reread(ctx) })
	requests := &handler{hub: h, ctx: ctx}
	defer requests.close()
	defer cancel()
	srv := &http.Server{
		Handler: requests,
		TLSConfig: &tls.Config{
			MinVersion:     tls.VersionTLS12,
			NextProtos:     []string{"http/1.1"}, // a connection of HTTP/2 cannot be taken over
			GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return h.settings().cert, nil },
		},
		// The time for a handshake, and from there for a request with its body.
		ReadTimeout:    h.cfg.Greet,
		MaxHeaderBytes: headBytes,
		ErrorLog:       log.New(io.Discard, "", 0), // port scanners and probes
		BaseContext:    func(net.Listener) context.Context { return ctx },
		ConnContext:    withStranger,
	}
	// Nobody has a second request: a connection is taken over, or is over.
	srv.SetKeepAlivesEnabled(false)
	ln = &strangers{ln, &connlimit.Limiter{Total: maxStrangers, PerSource: maxFromSource}}
	stop := context.AfterFunc(ctx, func() { srv.Close() })
	defer stop()
	err := srv.ServeTLS(ln, "", "")
	if ctx.Err() != nil && errors.Is(err, http.ErrServerClosed) {
		return context.Cause(ctx)
	}
	return fault.New(fault.Unreachable, "hub: %w", err)
}

func (h *Hub) settings() *settings {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.set
}

// reread takes over what changes in the folder, and ends the sessions of
// outposts whose token is gone.
func (h *Hub) reread(ctx context.Context) {
	tick := time.NewTicker(h.cfg.Reread)
	defer tick.Stop()
	said := ""
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		last := h.settings()
		set, err := readSettings(h.cfg.Dir, h.cfg.Tunnels, last)
		switch {
		case err != nil && err.Error() != said: // once, and go on with what there was
			h.log.Error("settings not read again: the last ones stay in force", "error", err)
			said = err.Error()
		case err == nil && set.digest != last.digest:
			h.mu.Lock()
			h.set = set
			h.mu.Unlock()
			if set.waysOf != last.waysOf {
				closeWays(last.ways) // what went through them is dialled again
			}
			h.log.Info("settings read again")
		}
		if err == nil {
			said = ""
		}
		for _, s := range h.sessions.all("") {
			if err := h.settings().tokens.Holds(s.grant, time.Now()); err != nil {
				h.log.Info("session ended", "outpost", s.grant.Outpost.String(), "cause", err)
				s.Close()
			}
		}
	}
}

// admit keeps an outpost's session until it ends.
func (h *Hub) admit(s *session) {
	h.sessions.add(s)
	defer h.sessions.remove(s)
	h.log.Info("outpost connected", "outpost", s.grant.Outpost.String(), "from", s.from)
	<-s.Done()
	h.log.Info("outpost gone", "outpost", s.grant.Outpost.String(), "from", s.from)
}

// A session is one outpost's.
type session struct {
	*outpost.Session
	grant grant
	from  string
	since time.Time
}
