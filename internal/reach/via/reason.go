package via

import (
	"errors"
	"net"
	"syscall"

	"outrigger.dev/outrigger/internal/fault"
)

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
