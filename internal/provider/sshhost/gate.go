package sshhost

import "context"

// Every call looks at every host, and a pool makes many calls at once. A host's
// sshd refuses connections beyond a few that have not logged in yet (MaxStartups in
// sshd_config(5): from 10 on), and each may be the first, which brings the agent.
// So a host is entered by one at a time, and some hosts at a time. One that does not answer takes up an entry
// until the connection is given up, and then not for a while: see [memory.away].
const entries = 64

// A gate bounds how many connections to hosts are being opened.
type gate struct {
	all  chan struct{}
	host map[string]chan struct{}
}

func newGate(hosts []host) gate {
	g := gate{all: make(chan struct{}, entries), host: map[string]chan struct{}{}}
	for _, h := range hosts {
		g.host[h.name] = make(chan struct{}, 1)
	}
	return g
}

// enter calls open when it is its turn.
func (g gate) enter(ctx context.Context, host string, open func() error) error {
	for _, turn := range []chan struct{}{g.host[host], g.all} {
		select {
		case turn <- struct{}{}:
			defer func() { <-turn }()
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return open()
}
