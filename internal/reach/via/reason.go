package via

import (
	"context"
	"errors"
	"fmt"
	"net"
	"syscall"
	"time"

	"outrigger.dev/outrigger/internal/fault"
)

// A StepError is why a step of the way does not carry: a proxy or hub that does not answer, breaks off, or cannot be
// trusted. It says nothing of what lies behind the step, and is the same for everything that does.
type StepError struct{ Err error }

// Error returns the text of the cause.
func (e *StepError) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *StepError) Unwrap() error { return e.Err }

// stepLimit bounds the connection to a proxy itself, so that one that is switched off is not taken for a machine
// behind it that is.
const stepLimit = 10 * time.Second

func dialStep(ctx context.Context, dial DialFunc, address string) (net.Conn, error) {
	limit, cancel := context.WithTimeout(ctx, stepLimit)
	defer cancel()
	conn, err := dial(limit, "tcp", address)
	if err != nil && limit.Err() != nil && ctx.Err() == nil {
		return nil, fmt.Errorf("no answer within %s", stepLimit)
	}
	return conn, err
}

// reason digs out the part of a network error that the message does not say yet.
func reason(err error) error {
	var f *fault.Error
	if errors.As(err, &f) {
		return err
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

// kindOf is that of a step before, if it gave one.
func kindOf(err error) fault.Kind {
	if k := fault.Of(err); k != fault.Internal {
		return k
	}
	return fault.Unreachable
}
