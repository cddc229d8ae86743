package relay

import (
	"context"
	"time"

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

// sync moves files one way. What has arrived when the connection breaks is not
// sent twice.
func (r *relay) sync(ctx context.Context, part Part, move func(*transfer.Session, context.Context) (transfer.Report, error)) error {
	if r.job.Files.Dir == "" {
		return nil
	}
	r.watcher.Begin(part)
	return r.persist(ctx, func(ctx context.Context) error {
		if r.files == nil {
			if err := r.openFiles(ctx); err != nil {
				return err
			}
		}
		report, err := move(r.files.session, ctx)
		if err != nil {
			r.files.close()
			r.files = nil
			return err
		}
		r.watcher.Synced(part, report)
		return nil
	})
}
