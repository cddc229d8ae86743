package places

import (
	"context"
	"net"
	"slices"
	"time"

	"outrigger.dev/outrigger/api/v1alpha1"
	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/handoff"
	"outrigger.dev/outrigger/internal/machine"
	"outrigger.dev/outrigger/internal/outpost/creds"
	"outrigger.dev/outrigger/internal/reach/via"
)

// A Hub is how machines in private networks are reached: see package hub.
type Hub struct {
	URL    string // as Pods and the controller dial it
	CA     string // PEM; "": the system's
	Signer creds.Signer
	Now    func() time.Time // nil: time.Now
}

// passLife bounds how long after its hand-over a Pod may still dial its machine
// anew: far above the length of a build. ownLife is for one dial of our own.
const (
	passLife = 7 * 24 * time.Hour
	ownLife  = 5 * time.Minute
)

// endpoint says of a machine that it is reached through the hub, with a pass for
// its address alone.
func (h *Hub) endpoint(network string, ep machine.Endpoint, who string) (machine.Endpoint, error) {
	step, err := h.step(network, firstHost(ep), who, passLife)
	ep.Via = []machine.Via{step}
	return ep, err
}

// firstHost is whom the hub is asked for: the first jump host, if there is one.
func firstHost(ep machine.Endpoint) string {
	if len(ep.Jumps) > 0 {
		return ep.Jumps[0].Address()
	}
	return ep.Address()
}

func (h *Hub) step(network, address, who string, life time.Duration) (machine.Via, error) {
	pass, err := h.Signer.Sign(creds.Pass{Network: network, To: []string{address}, For: who, Expires: h.now().Add(life)})
	return via.Hub(h.URL, network, pass, h.CA), err
}

func (h *Hub) now() time.Time {
	if h.Now != nil {
		return h.Now()
	}
	return time.Now()
}

// Renew gives a claim a fresh pass, if its machine is reached through a hub.
func (h *Hub) Renew(c handoff.Claim) (handoff.Claim, error) {
	// Of all steps that a claim may hold only the hub's has a user: pools' proxies take none.
	i := slices.IndexFunc(c.Endpoint.Via, func(v machine.Via) bool { return v.User != "" })
	if i < 0 {
		return c, nil
	}
	var err error
	c.Endpoint, err = h.endpoint(c.Endpoint.Via[i].User, c.Endpoint, "machine "+string(c.Machine))
	return c, err
}

// dial connects from the controller itself, with a pass for each connection.
func (h *Hub) dial(network string) via.DialFunc {
	return func(ctx context.Context, proto, address string) (net.Conn, error) {
		step, err := h.step(network, address, "controller", ownLife)
		if err != nil {
			return nil, err
		}
		dial, err := via.Through(new(net.Dialer).DialContext, []machine.Via{step}, nil)
		if err != nil {
			return nil, err
		}
		return dial(ctx, proto, address)
	}
}

// A way leads to a pool's machines.
type way struct {
	dial via.DialFunc // from the controller; nil: TCP
	tell func(machine.Endpoint) machine.Endpoint
}

func (s *Places) wayTo(p *v1alpha1.MachinePool) (way, error) {
	r := p.Spec.Reach
	switch {
	case r == nil:
		return way{tell: func(ep machine.Endpoint) machine.Endpoint { return ep }}, nil
	case r.Network != "" && s.hub == nil:
		return way{}, fault.New(fault.Config, "pool %s: reach.network is %q, but the controller knows no hub", p.Name, r.Network).
			WithRemedy("Give the controller --hub-url and --hub-pass-key.")
	case r.Network != "":
		// Signing fails for a key that is none, which is found when the first pass is made.
		if _, err := s.hub.step(r.Network, "none:1", "", ownLife); err != nil {
			return way{}, err
		}
		return way{dial: s.hub.dial(r.Network), tell: func(ep machine.Endpoint) machine.Endpoint {
			out, err := s.hub.endpoint(r.Network, ep, "pool "+p.Name)
			if err != nil {
				s.place.Log.Error("no pass", "pool", p.Name, "error", err)
			}
			return out
		}}, nil
	}
	var steps []machine.Via
	for _, url := range r.Proxies {
		steps = append(steps, machine.Via{URL: url})
	}
	dial, err := via.Through(new(net.Dialer).DialContext, steps, nil)
	if err != nil {
		return way{}, fault.New(fault.Of(err), "pool %s: reach.proxies: %w", p.Name, err)
	}
	return way{dial: dial, tell: func(ep machine.Endpoint) machine.Endpoint {
		ep.Via = steps
		return ep
	}}, nil
}
