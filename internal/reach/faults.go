package reach

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"
	"time"

	"golang.org/x/crypto/ssh"

	"outrigger.dev/outrigger/internal/fault"
)

var (
	errTooSlow = errors.New("took too long")
	errSilent  = errors.New("accepted the connection but said nothing")
	// errTurnedAway is in the chain of a fault when the connection ended before the host key was shown.
	errTurnedAway = errors.New("closed the connection before the login")
)

// dialFault says why no connection came about.
func dialFault(ctx context.Context, where string, limit time.Duration, err error) *fault.Error {
	if f := contextFault(ctx, where, limit); f != nil {
		return f
	}
	var refused *ssh.OpenChannelError
	if errors.As(err, &refused) {
		why := refused.Message
		if refused.Reason == ssh.Prohibited {
			why += " (the jump host does not allow forwarding)"
		}
		return fault.New(fault.Unreachable, "%s: the jump host cannot connect: %s", where, why)
	}
	var onTheWay *fault.Error // a proxy's, hub's or tunnel's
	if errors.As(err, &onTheWay) {
		f := fault.New(onTheWay.Kind, "%s: %w", where, err)
		f.Remedy, f.Detail = onTheWay.Remedy, onTheWay.Detail
		return f
	}
	return fault.New(fault.Unreachable, "%s: %w", where, reason(err))
}

// silentFault says why the other side never began to speak SSH.
func silentFault(ctx context.Context, where string, quiet, limit time.Duration, err error) *fault.Error {
	if errors.Is(err, errSilent) || errors.Is(context.Cause(ctx), errTooSlow) {
		return fault.New(fault.Unreachable, "%s: %w for %v", where, errSilent, min(quiet, limit))
	}
	if f := contextFault(ctx, where, limit); f != nil {
		return f
	}
	if errors.Is(err, io.EOF) {
		return fault.New(fault.Unreachable, "%s: closed the connection before SSH began: %w", where, also{err, errTurnedAway})
	}
	err = reason(err)
	if errors.Is(err, syscall.ECONNRESET) {
		err = also{err, errTurnedAway}
	}
	return fault.New(fault.Unreachable, "%s: %w", where, err)
}

// loginFault says why the SSH handshake or the login came to nothing.
func loginFault(ctx context.Context, where, user string, limit time.Duration, live *liveConn, keys *hostKeys, ways *ways, err error) *fault.Error {
	if keys.refused != nil {
		return keys.refused
	}
	if f := contextFault(ctx, where, limit); f != nil {
		return f
	}
	if broke := live.err(); broke != nil {
		why := reason(broke)
		if !keys.accepted {
			why = also{why, errTurnedAway}
		}
		return fault.New(fault.Unreachable, "%s: connection broke during the login: %w", where, why)
	}
	var none *ssh.AlgorithmNegotiationError
	if errors.As(err, &none) {
		if none.What == "host key" && keys.strict {
			return keys.noneOffered(none.RequestedAlgorithms)
		}
		return fault.New(fault.Unreachable, "%s: no %s in common: the machine offers %s",
			where, none.What, strings.Join(none.RequestedAlgorithms, ", ")).
			WithRemedy("Update the SSH server on the machine.")
	}
	// Which end saw it first decides how the package words it.
	if !keys.accepted && (errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed)) {
		return fault.New(fault.Unreachable, "%s: connection broke during the login: %w", where, also{reason(err), errTurnedAway})
	}
	if !keys.accepted {
		return fault.New(fault.Unreachable, "%s: does not speak SSH as it should: %w", where, err)
	}
	return fault.New(fault.AuthRefused, "%s: login of user %q refused: tried %s", where, user, ways.tried()).
		WithDetail(strings.TrimSpace(ways.said + "\n" + fmt.Sprint(errors.Unwrap(err))))
}

// contextFault returns the fault if ctx is what ended the attempt, else nil.
func contextFault(ctx context.Context, where string, limit time.Duration) *fault.Error {
	if ctx.Err() == nil {
		return nil
	}
	cause := context.Cause(ctx)
	if errors.Is(cause, errTooSlow) {
		return fault.New(fault.Unreachable, "%s: no answer within %v: %w", where, limit, context.DeadlineExceeded)
	}
	return fault.New(fault.Unreachable, "%s: gave up: %w", where, cause)
}

// reason digs out the part of a network error that says something new: the
// address is in our own text already.
func reason(err error) error {
	var dns *net.DNSError
	if errors.As(err, &dns) {
		return also{fmt.Errorf("name %q: %s", dns.Name, dns.Err), err}
	}
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return errno
	}
	var op *net.OpError
	if errors.As(err, &op) {
		return op.Err
	}
	return err
}

// also is an error that has a second cause, which its text does not show.
type also struct {
	error
	second error
}

func (a also) Unwrap() []error { return []error{a.error, a.second} }
