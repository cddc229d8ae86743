package transfer

import (
	"context"
	"errors"
	"io/fs"

	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/worksync/tree"
)

// A place words faults for one of the two sides.
type place struct {
	where string
	kind  fault.Kind // of what cannot be read or written there
}

var (
	here  = place{"here", fault.LocalFile}
	there = place{"on the machine", fault.RemoteFile}
)

// fault makes a fault of an error from looking, reading or writing.
func (p place) fault(err error) error {
	var known *fault.Error
	var path *fs.PathError
	switch {
	case err == nil, errors.As(err, &known), errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err
	case diskFull(err):
		return fault.New(fault.DiskFull, "sync: no space left %s: %w", p.where, err)
	case errors.Is(err, tree.ErrChanged):
		return fault.New(fault.FileChanged, "sync: %s: %w", p.where, err)
	case errors.Is(err, tree.ErrCodec), errors.Is(err, tree.ErrPath):
		return fault.New(fault.Protocol, "sync: received %s: %w", p.where, err)
	case errors.As(err, &path) && errors.Is(err, fs.ErrNotExist):
		return fault.New(fault.FileChanged, "sync: %s: gone since the scan: %w", p.where, err)
	}
	return fault.New(p.kind, "sync: %s: %w", p.where, err)
}

// broken is the fault of a connection that ended in the middle.
func broken(err error) error {
	if _, ok := errors.AsType[*fault.Error](err); ok {
		return err
	}
	return fault.New(fault.Unreachable, "sync: the connection to the machine broke: %w", err)
}

func unexpected(what string, got byte) error {
	return fault.New(fault.Protocol, "sync: got frame type %d, want %s", got, what)
}
