package disk

import (
	"context"
	"os"
	"path/filepath"
	"time"

	"github.com/gofrs/flock"

	"outrigger.dev/outrigger/internal/fault"
)

// lockPause is between two attempts to take a lock that another process has.
// They are held for moments, so waiting a little is cheap.
const lockPause = 5 * time.Millisecond

// Lock keeps other processes of the agent from changing leases until the
// returned function is called. The lock ends with the process that holds it.
func (r Root) Lock(ctx context.Context) (unlock func(), err error) {
	if err := os.MkdirAll(r.Leases(), 0o700); err != nil {
		return nil, Fault("leases", err)
	}
	return LockFile(ctx, filepath.Join(r.Leases(), ".lock"))
}

// LockFile locks a file that it creates and leaves. The folder must exist.
func LockFile(ctx context.Context, name string) (unlock func(), err error) {
	l := flock.New(name, flock.SetPermissions(0o600))
	if _, err := l.TryLockContext(ctx, lockPause); err != nil {
		if ctx.Err() != nil {
			return nil, fault.New(fault.Busy, "lock %s: %w", name, ctx.Err())
		}
		return nil, Fault("lock "+name, err)
	}
	return func() { _ = l.Unlock() }, nil // closing the file unlocks whatever it says
}

// TryLockFile is LockFile without waiting; ok is false when another process holds it.
func TryLockFile(name string) (unlock func(), ok bool, err error) {
	l := flock.New(name, flock.SetPermissions(0o600))
	ok, err = l.TryLock()
	if err != nil {
		return nil, false, Fault("lock "+name, err)
	}
	return func() { _ = l.Unlock() }, ok, nil // closing the file unlocks whatever it says
}
