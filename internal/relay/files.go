package relay

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/host"
	"outrigger.dev/outrigger/internal/wire"
	"outrigger.dev/outrigger/internal/worksync/transfer"
)

// A folder is one of the job's Files, with a connection to the agent's serve
// and a sync session on it while there is one.
type folder struct {
	Files
	*relay
	held    bool // Hold was called for what follows
	order   *order
	conn    *wire.Conn
	session *transfer.Session
}

func (f *folder) close() {
	if f.session != nil {
		_ = f.session.Close() // what matters of it was reported by Up and Back
	}
	if f.conn != nil {
		f.conn.Close()
	}
	f.session, f.conn = nil, nil
}

// open opens the connection, takes the lease (or renews it, after a reconnect)
// with the links given, and begins the sync, if there is one.
// What can be asked for before an answer is here is, which saves round trips.
func (f *folder) open(ctx context.Context, links []Link) error {
	lease := f.job.Lease
	begin := f.Dir != ""
	conn, err := f.host.Open(ctx, host.Serve, func(c *wire.Conn) error {
		err := f.askLease(c)
		for _, l := range links {
			if err == nil {
				err = c.SendRequest(wire.MethodLink, f.linkRequest(l))
			}
		}
		if err == nil && begin {
			err = c.SendRequest(wire.MethodSync, wire.SyncRequest{Lease: lease.Name, Folder: f.Folder})
		}
		return err
	})
	if err != nil {
		return err
	}
	f.conn = conn
	if err := f.answers(ctx, links); err != nil {
		f.close()
		return orCause(ctx, err)
	}
	return nil
}

// answers takes the answers to what open asked for.
func (f *folder) answers(ctx context.Context, links []Link) error {
	abort := context.AfterFunc(ctx, func() { f.conn.Close() })
	defer abort()
	var got wire.Lease
	if err := f.conn.RecvResponse(&got); err != nil {
		return err
	}
	if err := f.setLease(got); err != nil {
		return err
	}
	for _, l := range links {
		var answer wire.LinkAnswer
		err := f.conn.RecvResponse(&answer)
		if err := f.judgeLink(l, answer, err); err != nil {
			return err
		}
	}
	if f.Dir == "" {
		return nil
	}
	if err := f.conn.RecvResponse(nil); err != nil {
		return err
	}
	cfg := transfer.ClientConfig{
		Root: f.Dir, StateDir: f.StateDir, Exclude: f.Exclude, Fixed: f.Fixed, ProbeIn: f.ProbeIn,
		AllowHere: f.AllowHere, AllowThere: f.AllowThere, TakeGit: f.TakeGit, TakeSetID: f.TakeSetID,
		Prefer: f.Prefer, AsHere: f.AsHere,
		Only: f.Only, Apart: f.Apart,
		TempTag: f.TempTag, Progress: f.watcher.Progress, Log: f.job.Log,
	}
	if f.isOrdered() {
		cfg.Turn = f.turn
	}
	var err error
	f.session, err = transfer.Open(ctx, f.conn, cfg)
	return err
}

func orCause(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

// sync moves files one way. What has arrived when the connection breaks is not
// sent twice.
func (f *folder) sync(ctx context.Context, part Part) error {
	move := (*transfer.Session).Up
	if part == Back {
		move = (*transfer.Session).Back
	}
	f.watcher.Begin(part)
	if f.Hold != nil && !f.held {
		release, err := f.Hold(ctx)
		if err != nil {
			return err
		}
		defer release()
	}
	return f.persist(ctx, func(ctx context.Context) error {
		if f.session == nil {
			if err := f.open(ctx, nil); err != nil {
				return err
			}
		}
		report, err := move(f.session, ctx)
		if err != nil && report.LeftCount == 0 {
			f.close()
			return err
		}
		f.left(part, report)
		f.watcher.Synced(part, report)
		return nil
	})
}

// left takes note of paths that were not moved. They stop nothing: the command
// runs, the other files come back, and the job's error names them in the end.
func (f *folder) left(part Part, report transfer.Report) {
	r := f.relay
	left, count := report.Left, report.LeftCount
	if len(f.Only) > 0 {
		left = slices.DeleteFunc(slices.Clone(left), func(l transfer.Left) bool { return !below(l.Path, f.Only) })
		count = len(left)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.short = r.short || part == Back && count > 0
	r.missed = r.missed || part == Back && (count > len(left) || slices.ContainsFunc(left, func(l transfer.Left) bool { return !l.Unread }))
	for _, l := range left {
		if len(r.result.Left) < maxLeft && !slices.Contains(r.result.Left, l) {
			r.result.Left = append(r.result.Left, l)
		}
	}
	r.result.LeftCount = max(len(r.result.Left), count)
}

// below tells whether path is one of paths, or below or above one.
func below(path string, paths []string) bool {
	return path == "." || slices.ContainsFunc(paths, func(p string) bool {
		return path == p || strings.HasPrefix(path, p+"/") || strings.HasPrefix(p, path+"/")
	})
}

// maxLeft bounds what is remembered of paths that were not moved.
const maxLeft = 1000

// back brings all folders back, also when one of them fails.
func (r *relay) back(ctx context.Context) error {
	var folders []*folder
	for _, f := range r.folders {
		if !f.Up {
			folders = append(folders, f)
		}
	}
	release, err := holdAll(ctx, folders)
	if err != nil {
		return err
	}
	defer release()
	newOrder(folders)
	errs := make([]error, len(folders))
	var g errgroup.Group
	for i, f := range folders {
		g.Go(func() error {
			defer f.order.leave(f)
			errs[i] = f.sync(ctx, Back)
			return nil
		})
	}
	_ = g.Wait() // the errors are in the list
	return joinFaults(errs)
}

// joinFaults makes one fault of several: the first with the words of the others.
func joinFaults(errs []error) error {
	var all error
	for _, err := range errs {
		switch {
		case err == nil:
		case all == nil:
			all = err
		default:
			joined := fault.New(fault.Of(all), "%w; and %v", all, err)
			var f *fault.Error
			if errors.As(all, &f) {
				joined.Detail, joined.Remedy, joined.Exit = f.Detail, f.Remedy, f.Exit
			}
			all = joined
		}
	}
	return all
}

// liveEvery is how often files that change during the run are looked at. The
// kubelet itself takes a minute on average to pass on a change.
const liveEvery = 2 * time.Second

// follow brings up what changes here during the run, until the returned
// function is called.
func (r *relay) follow(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var g errgroup.Group
	for _, f := range r.folders {
		if f.Changed == nil {
			continue
		}
		g.Go(func() error {
			tick := time.NewTicker(liveEvery)
			defer tick.Stop()
			for {
				select {
				case <-ctx.Done():
					return nil
				case <-tick.C:
				}
				if !f.Changed() {
					continue
				}
				if err := f.sync(ctx, Up); err != nil && ctx.Err() == nil {
					f.watcher.Warn("what changed during the run could not be brought up: " + err.Error())
				}
			}
		})
	}
	return func() {
		cancel()
		_ = g.Wait() // its errors were told
	}
}
