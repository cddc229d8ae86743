package relay

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/host"
	"outrigger.dev/outrigger/internal/wire"
	"outrigger.dev/outrigger/internal/worksync/transfer"
)

// files is one connection to the agent's serve, with a sync session on it if
// the job has files.
type files struct {
	conn    *wire.Conn
	session *transfer.Session
}

func (f *files) close() {
	if f.session != nil {
		_ = f.session.Close() // what matters of it was reported by Up and Back
	}
	f.conn.Close()
}

// openFiles opens the connection, takes the lease (again, after a reconnect:
// that is idempotent) and begins the sync.
func (r *relay) openFiles(ctx context.Context) error {
	lease := r.job.Lease
	conn, err := r.host.Open(ctx, host.Serve, func(c *wire.Conn) error {
		return c.SendRequest(wire.MethodLeaseAcquire, wire.LeaseAcquire{
			Name: lease.Name, Owner: string(lease.Owner), Expires: time.Now().Add(lease.TTL), Note: lease.Note,
		})
	})
	if err != nil {
		return err
	}
	f := &files{conn: conn}
	abort := context.AfterFunc(ctx, func() { conn.Close() })
	defer abort()
	var got wire.Lease
	if err := conn.RecvResponse(&got); err != nil {
		f.close()
		return err
	}
	r.result.Work = got.Work
	if r.job.Files.Dir != "" {
		if err := conn.Call(wire.MethodSync, wire.SyncRequest{Lease: lease.Name, Folder: r.job.Files.Folder}, nil); err != nil {
			f.close()
			return err
		}
		f.session, err = transfer.Open(ctx, conn, transfer.ClientConfig{
			Root: r.job.Files.Dir, StateDir: r.job.Files.StateDir, Exclude: r.job.Files.Exclude,
			TempTag: r.job.Files.TempTag, Progress: r.watcher.Progress, Log: r.job.Log,
		})
		if err != nil {
			f.close()
			return err
		}
	}
	r.files = f
	return nil
}

func (r *relay) up(ctx context.Context) error {
	return r.sync(ctx, Up, (*transfer.Session).Up)
}

func (r *relay) back(ctx context.Context) error {
	return r.sync(ctx, Back, (*transfer.Session).Back)
}

// sync moves files one way. When the connection breaks it begins again on a new
// one: what has arrived is not sent twice.
func (r *relay) sync(ctx context.Context, part Part, move func(*transfer.Session, context.Context) (transfer.Report, error)) error {
	if r.job.Files.Dir == "" {
		return nil
	}
	r.watcher.Begin(part)
	var lost time.Time
	for wait := redialFirst; ; wait = min(wait*2, redialMost) {
		report, err := r.syncOnce(ctx, move)
		if err == nil {
			if !lost.IsZero() {
				r.watcher.Back()
			}
			r.watcher.Synced(part, report)
			return nil
		}
		if ctx.Err() != nil || !broken(err) {
			return err
		}
		if lost.IsZero() {
			lost = time.Now()
			r.watcher.Lost(err, r.job.Absence)
		}
		if time.Since(lost) > r.job.Absence {
			return fault.New(fault.MachineLost, "the machine is gone: no way back within %s: %w", r.job.Absence, err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(wait/2 + rand.N(wait/2+1)): // jitter, so that many clients do not come back at once
		}
	}
}

// The waits between attempts to get back: the first is short, since most
// connections that break can be had again at once.
const (
	redialFirst = 200 * time.Millisecond
	redialMost  = 10 * time.Second
)

func (r *relay) syncOnce(ctx context.Context, move func(*transfer.Session, context.Context) (transfer.Report, error)) (transfer.Report, error) {
	if r.files == nil {
		if err := r.openFiles(ctx); err != nil {
			return transfer.Report{}, err
		}
	}
	report, err := move(r.files.session, ctx)
	if err != nil {
		r.files.close()
		r.files = nil
	}
	return report, err
}

// broken tells an error of the connection from one that would come again: the
// first has no kind of its own, or says that nobody answers.
func broken(err error) bool {
	var f *fault.Error
	return !errors.As(err, &f) || f.Kind == fault.Unreachable || f.Kind == fault.MachineLost
}
