package tree

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"syscall"
)

// Local tells whether an error is about the one path that it names, so that
// everything else can go on without it.
func Local(err error) bool {
	switch {
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded),
		errors.Is(err, ErrCodec), errors.Is(err, ErrPath), exhausted(err):
		return false
	case errors.Is(err, ErrChanged), errors.Is(err, ErrNotFolder), errors.Is(err, ErrNotFile):
		return true
	}
	if _, ok := errors.AsType[*fs.PathError](err); ok {
		return true
	}
	if _, ok := errors.AsType[*os.LinkError](err); ok {
		return true
	}
	_, ok := errors.AsType[syscall.Errno](err)
	return ok
}

// Vanished tells whether an error says that what the scan saw is not there any
// more, or is another kind of thing by now: the next sync will see it.
func Vanished(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, ErrNotFolder) || errors.Is(err, ErrNotFile) ||
		errors.Is(err, syscall.ENOTDIR)
}

// Reason is what went wrong, without the path.
func Reason(err error) string {
	if errors.Is(err, ErrChanged) {
		return err.Error()
	}
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return e.Err.Error()
	}
	if e, ok := errors.AsType[*os.LinkError](err); ok {
		return e.Err.Error()
	}
	return err.Error()
}
