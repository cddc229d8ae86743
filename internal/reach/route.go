package reach

import (
	"context"
	"net"
	"time"

	"golang.org/x/crypto/ssh"

	"outrigger.dev/outrigger/internal/machine"
	"outrigger.dev/outrigger/internal/reach/via"
)

// A route is the chain of jump hosts that lead to a machine, each reached
// through the one before.
type route struct {
	opts Options
	via  string       // the steps before the first host, for messages
	dial via.DialFunc // through them
	hops []*link
}

func newRoute(ep machine.Endpoint, opts Options) (route, error) {
	dial, err := via.Through(opts.DialContext, ep.Via, opts.Tunnels)
	return route{opts: opts, via: via.Describe(ep.Via), dial: dial}, err
}

// A link is one logged-in SSH connection.
type link struct {
	ssh   *ssh.Client
	conn  *liveConn
	where string // for messages: "user@host:port"
}

// open connects to the jump hosts in order.
func (r *route) open(ctx context.Context, jumps []machine.Endpoint) error {
	for _, j := range jumps {
		l, err := r.next(ctx, j, r.opts.Timeout)
		if err != nil {
			r.close()
			return err
		}
		r.hops = append(r.hops, l)
	}
	return nil
}

// next connects to ep behind the last hop. quiet bounds the wait for the
// first byte that the other side says.
func (r *route) next(ctx context.Context, ep machine.Endpoint, quiet time.Duration) (*link, error) {
	where := ep.User + "@" + ep.Address()
	dial := r.dial
	for _, h := range r.hops {
		where += " through " + h.where
		dial = h.ssh.DialContext
	}
	if r.via != "" && len(r.hops) == 0 {
		where += " via " + r.via
	}
	ctx, cancel := context.WithTimeoutCause(ctx, r.opts.Timeout, errTooSlow)
	defer cancel()
	conn, err := dial(ctx, "tcp", ep.Address())
	if err != nil {
		return nil, dialFault(ctx, where, r.opts.Timeout, err)
	}
	c, live, err := login(ctx, conn, ep, where, quiet, r.opts)
	if err != nil {
		return nil, err
	}
	r.opts.Log.Debug("logged in", "host", where, "server", string(c.ServerVersion()))
	return &link{ssh: c, conn: live, where: where}, nil
}

// close ends the hops, the nearest last because the others go through it.
func (r *route) close() {
	for i := len(r.hops) - 1; i >= 0; i-- {
		r.hops[i].ssh.Close()
		_ = r.hops[i].ssh.Wait() // the reason is ours: we closed it
	}
	r.hops = nil
}

// login speaks SSH on conn, which it owns, until the user is in.
func login(ctx context.Context, conn net.Conn, ep machine.Endpoint, where string, quiet time.Duration, o Options) (*ssh.Client, *liveConn, error) {
	live := newLiveConn(conn)
	stop := context.AfterFunc(ctx, func() { live.Close() })
	defer stop()
	ways, err := newWays(ctx, ep.Auth, o.AgentSocket)
	if err != nil {
		live.Close()
		return nil, nil, err
	}
	defer ways.close()
	keys, err := newHostKeys(ep, where)
	if err != nil {
		live.Close()
		return nil, nil, err
	}
	if err := live.awaitFirst(quiet); err != nil {
		live.Close()
		return nil, nil, silentFault(ctx, where, quiet, o.Timeout, err)
	}
	sc, chans, reqs, err := ssh.NewClientConn(live, ep.Address(), &ssh.ClientConfig{
		User:              ep.User,
		Auth:              ways.methods(ctx),
		HostKeyCallback:   keys.check,
		HostKeyAlgorithms: keys.algorithms,
		BannerCallback:    ways.banner,
		// The package's own order of ciphers begins with aes128-gcm, the
		// fastest of all with AES instructions (docs/benchmarks.md), so none is set.
	})
	if err != nil {
		return nil, nil, loginFault(ctx, where, ep.User, o.Timeout, live, keys, ways, err)
	}
	if !stop() {
		sc.Close()
		return nil, nil, dialFault(ctx, where, o.Timeout, ctx.Err())
	}
	return ssh.NewClient(sc, chans, reqs), live, nil
}
