package qemu

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"time"

	"outrigger.dev/outrigger/internal/fault"
)

// A lockKind is how a lock is held.
type lockKind int

const (
	_ lockKind = iota
	shared
	exclusive
)

// A lock is a file that this process holds. It ends with the process, however
// that ends, so nobody has to judge whether a holder still lives.
type lock struct{ file *os.File }

// release lets go. A file that is gone by then was removed under the lock.
func (l lock) release() { l.file.Close() }

// poll is how often something is looked at that tells nobody when it changes: a
// hundredth of the time that the fastest start of a machine takes.
const poll = 5 * time.Millisecond

// acquire waits for the exclusive lock on the file at path, which it makes if
// there is none. A path whose folder is gone is fs.ErrNotExist.
func acquire(ctx context.Context, path string) (lock, error) {
	for {
		l, held, err := try(path, exclusive)
		if err != nil {
			return lock{}, err
		}
		if !held {
			return l, nil
		}
		if err := pause(ctx); err != nil {
			return lock{}, fault.New(fault.Busy, "qemu: %s is held by another process: %w", path, err)
		}
	}
}

// try takes the lock unless somebody else holds it.
func try(path string, how lockKind) (l lock, held bool, err error) {
	for {
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			return lock{}, false, err
		}
		ok, err := tryLock(f, how)
		if err != nil || !ok {
			f.Close()
			return lock{}, err == nil, err
		}
		// Whoever had it before may have removed the file, and then it locks nothing.
		same, err := stillAt(f, path)
		if err == nil && same {
			return lock{f}, false, nil
		}
		f.Close()
		if err != nil {
			return lock{}, false, err
		}
	}
}

func stillAt(f *os.File, path string) (bool, error) {
	have, err := f.Stat()
	if err != nil {
		return false, err
	}
	now, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil && os.SameFile(have, now), err
}

// pause waits before the next look, or until ctx ends.
func pause(ctx context.Context) error {
	t := time.NewTimer(poll)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
