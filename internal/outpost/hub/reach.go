package hub

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"

	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/machine"
	"outrigger.dev/outrigger/internal/outpost"
	"outrigger.dev/outrigger/internal/outpost/allow"
)

// turnLimit bounds how long one outpost may take to connect: a little more than its own limit.
const turnLimit = 10 * time.Second

// The reasons that are ours, not an outpost's.
const (
	denied    outpost.Code = "http_request_denied"
	noOutpost outpost.Code = "destination_unavailable"
	internal  outpost.Code = "proxy_internal_error"
)

// A target is an address in a network that a client may reach.
type target struct {
	hub     *Hub
	name    string // of the network
	network *network
	address allow.Address
}

// allowed tells whether a pass allows address in a network. who is whom it was made for.
func (h *Hub) allowed(name string, shown machine.Secret, address string) (t target, who string, no *refusal) {
	set := h.settings()
	if shown.Empty() {
		return t, "", &refusal{http.StatusProxyAuthRequired, denied, "want a network for a user and a pass for a password"}
	}
	pass, err := set.passes.Verify(shown, time.Now())
	if err != nil {
		return t, "", &refusal{http.StatusProxyAuthRequired, denied, err.Error()}
	}
	who = pass.For
	if pass.Network != name {
		return t, who, &refusal{http.StatusForbidden, denied, fmt.Sprintf("the pass is for network %q, not for %q", pass.Network, name)}
	}
	to, err := allow.ParseAddress(address)
	if err != nil {
		return t, who, &refusal{http.StatusBadRequest, outpost.BadRequest, err.Error()}
	}
	passes, err := allow.Parse(pass.To)
	if err != nil {
		return t, who, &refusal{http.StatusForbidden, denied, "the pass: " + err.Error()}
	}
	if !passes.Allows(to) {
		return t, who, &refusal{http.StatusForbidden, denied, fmt.Sprintf("the pass of %q does not allow %s: it is for %s", pass.For, to, passes)}
	}
	n := set.networks[name]
	if n == nil {
		return t, who, &refusal{http.StatusForbidden, denied, fmt.Sprintf("this hub has no network %q", name)}
	}
	if !n.allow.Empty() && !n.allow.Allows(to) {
		return t, who, &refusal{http.StatusForbidden, outpost.Prohibited, fmt.Sprintf("%s is not in the hub's list of allowed addresses of network %s", to, name)}
	}
	return target{h, name, n, to}, who, nil
}

// dial connects to the target.
func (t target) dial(ctx context.Context) (net.Conn, *refusal) {
	if t.network.dial != nil {
		return t.hub.dialItself(ctx, t.network, t.address)
	}
	return t.hub.dialOutposts(ctx, t.name, t.address)
}

// dialItself goes the ways of the hub's own.
func (h *Hub) dialItself(ctx context.Context, n *network, to allow.Address) (net.Conn, *refusal) {
	ctx, cancel := context.WithTimeout(ctx, turnLimit)
	defer cancel()
	conn, err := n.dial(ctx, "tcp", to.String())
	if err == nil {
		return conn, nil
	}
	status, code := http.StatusBadGateway, outpost.Unavailable
	switch {
	case fault.Is(err, fault.RouteRefused), fault.Is(err, fault.AuthRefused), fault.Is(err, fault.HostKey), fault.Is(err, fault.Config):
		status, code = http.StatusForbidden, denied
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		status, code = http.StatusGatewayTimeout, outpost.TimedOut
	}
	return nil, &refusal{status, code, err.Error()}
}

// dialOutposts asks the outposts of a network in turn, and waits for one if
// none is there: it may be dialling at this moment.
func (h *Hub) dialOutposts(ctx context.Context, name string, to allow.Address) (net.Conn, *refusal) {
	patience, cancel := context.WithTimeout(ctx, h.cfg.Patience)
	defer cancel()
	tried := map[*session]bool{}
	var prohibited, last *refusal
	for {
		all := h.sessions.await(patience, name, tried)
		if len(all) == 0 || ctx.Err() != nil {
			break
		}
		for _, s := range all {
			tried[s] = true
			conn, no := ask(ctx, s, to)
			if no == nil {
				return conn, nil
			}
			h.log.Debug("outpost asked in vain", "outpost", s.grant.Outpost.String(), "to", to.String(), "cause", no.text)
			if no.code == outpost.Prohibited {
				prohibited = no
			} else {
				last = no
			}
		}
		if last == nil || last.code != internal {
			break // an answer, even if it is no; a session that broke may come back
		}
	}
	switch {
	case last != nil: // somebody may go there, but could not
		return nil, last
	case prohibited != nil:
		return nil, prohibited
	}
	text := fmt.Sprintf("no outpost of network %s is connected", name)
	if seen := h.sessions.lastSeen(name); !seen.IsZero() {
		text += fmt.Sprintf(", the last one went at %s", seen.UTC().Format(time.RFC3339))
	}
	return nil, &refusal{http.StatusServiceUnavailable, noOutpost, text}
}

// statuses are those of an outpost's reasons; others are 502.
var statuses = map[outpost.Code]int{
	outpost.Prohibited: http.StatusForbidden,
	outpost.TimedOut:   http.StatusGatewayTimeout,
	outpost.BadRequest: http.StatusBadRequest,
}

func ask(ctx context.Context, s *session, to allow.Address) (net.Conn, *refusal) {
	ctx, cancel := context.WithTimeout(ctx, turnLimit)
	defer cancel()
	conn, err := s.Dial(ctx, to.String())
	if err == nil {
		return conn, nil
	}
	where := "outpost " + s.grant.Outpost.String() + ": "
	var said *outpost.Refusal
	if !errors.As(err, &said) {
		return nil, &refusal{http.StatusBadGateway, internal, where + err.Error()}
	}
	status, ok := statuses[said.Code]
	if !ok {
		status = http.StatusBadGateway
	}
	return nil, &refusal{status, said.Code, where + strings.TrimSpace(said.Text)}
}
