package reach

import (
	"context"
	"errors"
	"net"
	"strings"

	"golang.org/x/crypto/ssh"

	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/machine"
)

// errGreeted ends a handshake as soon as the host key is known.
var errGreeted = errors.New("the host key is known")

// Greet returns the host key that the machine shows, as a line for
// [machine.Endpoint.HostKeys]. Nothing is sent to the machine and nobody logs in, so
// the key proves nothing yet: whoever pins it must find out whose it is. It tries once;
// faults: Unreachable, and those of jump hosts.
func Greet(ctx context.Context, ep machine.Endpoint, opts Options) (string, error) {
	opts = opts.withDefaults()
	r, err := newRoute(ep, opts)
	if err != nil {
		return "", err
	}
	defer r.close()
	if err := r.open(ctx, ep.Jumps); err != nil {
		return "", err
	}
	where := ep.User + "@" + ep.Address()
	dial := r.dial
	for _, h := range r.hops {
		where += " through " + h.where
		dial = h.ssh.DialContext
	}
	if r.via != "" && len(r.hops) == 0 {
		where += " via " + r.via
	}
	ctx, cancel := context.WithTimeoutCause(ctx, opts.Timeout, errTooSlow)
	defer cancel()
	conn, err := dial(ctx, "tcp", ep.Address())
	if err != nil {
		return "", dialFault(ctx, where, opts.Timeout, err)
	}
	live := newLiveConn(conn)
	defer live.Close()
	defer context.AfterFunc(ctx, func() { live.Close() })()
	keys, err := newHostKeys(machine.Endpoint{Host: ep.Host, Port: ep.Port}, where) // knows nobody: takes any type
	if err != nil {
		return "", err
	}
	if err := live.awaitFirst(opts.Timeout); err != nil {
		return "", silentFault(ctx, where, opts.Timeout, opts.Timeout, err)
	}
	var seen ssh.PublicKey
	_, _, _, err = ssh.NewClientConn(live, ep.Address(), &ssh.ClientConfig{
		HostKeyCallback: func(_ string, _ net.Addr, key ssh.PublicKey) error {
			seen = key
			return errGreeted
		},
		HostKeyAlgorithms: keys.algorithms,
	})
	if seen == nil {
		if f := contextFault(ctx, where, opts.Timeout); f != nil {
			return "", f
		}
		return "", fault.New(fault.Unreachable, "%s: does not speak SSH as it should: %w", where, err)
	}
	return strings.TrimSpace(string(ssh.MarshalAuthorizedKey(seen))), nil
}
