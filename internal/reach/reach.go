// Package reach gets to a machine: SSH with host keys that are known
// beforehand, through proxies, tunnels and jump hosts if need be, never asking
// a person anything.
//
// [Dial] tries once, [Wait] until a machine that is just booting answers. Both
// give a [Client], on which streams, commands and shells run side by side.
// What goes wrong comes back as a fault that says which of three things it
// was: nobody there (Unreachable), somebody who does not let us in
// (AuthRefused), or somebody else (HostKey).
package reach

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net"
	"time"

	"outrigger.dev/outrigger/internal/machine"
	"outrigger.dev/outrigger/internal/reach/via"
)

// Options tune a connection. The zero value is fit for use.
type Options struct {
	Log *slog.Logger // nil: silent

	// Timeout bounds one attempt, from the first packet to the end of the
	// login, for each host on the way. 0 means 20 seconds.
	Timeout time.Duration

	// Insist is how long [Dial] tries again while the machine closes the connection before it shows
	// its host key: sshd does so at random when many log in at once (MaxStartups in sshd_config(5)).
	// 0 means 10 seconds; negative: try once.
	Insist time.Duration

	// Keepalive is how often the machine is asked for a sign of life. After
	// KeepaliveMisses intervals without one the connection is closed, so that
	// its users notice. 0 means 15 seconds and 3 misses; negative: never ask.
	Keepalive       time.Duration
	KeepaliveMisses int

	// DialContext opens the connection to the first host, or to the first step
	// of the endpoint's Via; nil means TCP.
	DialContext func(ctx context.Context, network, address string) (net.Conn, error)

	// Tunnels carry what goes through WireGuard; nil: nothing can.
	Tunnels via.Tunnels

	// AgentSocket is where the SSH agent listens; "" means $SSH_AUTH_SOCK, or
	// on Windows the pipe of its own SSH agent.
	AgentSocket string
}

// Guesses: three times what a login over a slow satellite link takes, and what
// keeps most NAT tables (30 seconds and more) from forgetting us.
const (
	defaultTimeout   = 20 * time.Second
	defaultInsist    = 10 * time.Second
	defaultKeepalive = 15 * time.Second
	defaultMisses    = 3
)

func (o Options) withDefaults() Options {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Timeout == 0 {
		o.Timeout = defaultTimeout
	}
	if o.Insist == 0 {
		o.Insist = defaultInsist
	}
	if o.Keepalive == 0 {
		o.Keepalive = defaultKeepalive
	}
	if o.KeepaliveMisses == 0 {
		o.KeepaliveMisses = defaultMisses
	}
	if o.DialContext == nil {
		o.DialContext = new(net.Dialer).DialContext
	}
	return o
}

// The pauses of Dial between two attempts: a login takes 0.1 to 0.5 seconds, and those that were
// turned away together shall not come back together.
const (
	insistFirst = 200 * time.Millisecond
	insistMost  = 2 * time.Second
)

// Dial connects and logs in. It tries again only while the machine has no room for one more login,
// see [Options.Insist]. Faults: Unreachable, RouteRefused, AuthRefused,
// HostKey, and Config or LocalFile for keys that cannot be used.
func Dial(ctx context.Context, ep machine.Endpoint, opts Options) (*Client, error) {
	opts = opts.withDefaults()
	start := time.Now()
	for pause := insistFirst; ; pause = min(2*pause, insistMost) {
		c, err := dialOnce(ctx, ep, opts)
		if err == nil || !errors.Is(err, errTurnedAway) || time.Since(start)+pause > opts.Insist {
			return c, err
		}
		opts.Log.Debug("turned away, trying again", "host", ep.Address(), "error", err)
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(pause/2 + rand.N(pause)):
		}
	}
}

func dialOnce(ctx context.Context, ep machine.Endpoint, opts Options) (*Client, error) {
	r, err := newRoute(ep, opts)
	if err != nil {
		return nil, err
	}
	if err := r.open(ctx, ep.Jumps); err != nil {
		return nil, err
	}
	l, err := r.next(ctx, ep, opts.Timeout)
	if err != nil {
		r.close()
		return nil, err
	}
	return newClient(l, r), nil
}
