// Package relay is the sequence in which a command here is executed over
// there: lease, files up, run, files back. The CLI runs it for a folder on a
// laptop, and the relay of a Pod runs it for the Pod's volumes.
//
// It owns no machine: the caller takes one (package claim), reaches it (package
// host), and gives it back whatever the relay answers.
//
// What the command said and what we failed to do are two outcomes. The files
// come back also when the command failed, since the report of a failed test is
// what its user wants most.
package relay

import (
	"context"
	"path"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/host"
	"outrigger.dev/outrigger/internal/machine"
	"outrigger.dev/outrigger/internal/runclient"
	"outrigger.dev/outrigger/internal/sanitize"
	"outrigger.dev/outrigger/internal/wire"
	"outrigger.dev/outrigger/internal/worksync/transfer"
)

// releaseLimit bounds the release of a lease, which goes on after ctx is cancelled.
const releaseLimit = 30 * time.Second

// maxReleased bounds how many things a machine may name that are left there.
const maxReleased = 20

// Do carries out the job on the machine. The error is what we failed to do; a
// command that failed is in the Result alone.
func Do(ctx context.Context, h *host.Host, job Job, watcher Watcher) (Result, error) {
	stop, ctx := watch(ctx, job.Signals, job.Grace)
	defer stop.end()
	r := &relay{host: h, job: job, watcher: watcher, stop: stop}
	for _, f := range job.Files {
		r.folders = append(r.folders, &folder{Files: f, relay: r})
	}
	r.control = &folder{relay: r} // a connection without files
	if len(r.folders) > 0 {
		r.control = r.folders[0]
	}
	defer r.close()
	err := r.do(ctx)
	if left := transfer.LeftFault(r.result.Left, r.result.LeftCount); left != nil {
		err = joinFaults([]error{err, left})
	}
	if job.Lease.End {
		err = r.end(ctx, err)
	}
	return r.result, cause(ctx, err)
}

// A relay is one job under way.
type relay struct {
	host    *host.Host
	job     Job
	watcher Watcher
	stop    *stopper

	folders []*folder
	control *folder    // the one that takes the lease and makes links: the first, if there are any
	early   *wire.Conn // a connection for the run, opened while the files go up

	mu     sync.Mutex
	lease  wire.Lease
	linked []wire.LinkRequest // links that were made
	result Result
}

func (r *relay) setLease(l wire.Lease) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lease, r.result.Work = l, l.Work
}

func (r *relay) do(ctx context.Context) error {
	if r.job.Over {
		return r.back(ctx)
	}
	if err := r.prepare(ctx); err != nil {
		return err
	}
	renewed := r.keepLease(ctx)
	defer renewed()
	if r.job.Starting != nil {
		if err := r.job.Starting(ctx, &r.job.Command, r.lease); err != nil {
			return cause(ctx, err)
		}
	}
	unfollow := r.follow(ctx)
	err := r.run(ctx)
	unfollow()
	if r.result.Ran && r.job.Ended != nil {
		err = joinFaults([]error{err, r.job.Ended(r.result.Exit)})
	}
	if !r.result.Ran {
		return err
	}
	err = joinFaults([]error{err, r.checkLinks(ctx)})
	// Whatever went wrong since: what the command wrote is brought back before that is told.
	if backErr := r.back(ctx); backErr != nil {
		if err == nil {
			return backErr
		}
		return fault.New(fault.Of(err), "%w; and bringing files back: %v", err, backErr)
	}
	return err
}

// prepare takes the lease, makes the links, brings the files up, and opens the
// run's connection beside that.
func (r *relay) prepare(ctx context.Context) error {
	g, gctx := errgroup.WithContext(ctx)
	// On a machine without the agent each connection would bring it there. The
	// others wait until the first has it, unless it is known to be there.
	others := func() {
		g.Go(func() error {
			// If it fails the run dials by itself, and tells why it cannot.
			if conn, err := r.host.Open(gctx, host.Connect, nil); err == nil {
				r.early = conn
			}
			return nil
		})
		for _, f := range r.folders {
			if f != r.control && !r.job.Resume {
				g.Go(func() error { return f.sync(gctx, Up) })
			}
		}
	}
	if r.job.Warm {
		others()
	}
	g.Go(func() error {
		if err := r.persist(gctx, func(ctx context.Context) error { return r.control.open(ctx, r.earlyLinks()) }); err != nil {
			return err
		}
		if !r.job.Warm {
			others()
		}
		if r.control.Dir == "" || r.job.Resume {
			return nil
		}
		return r.control.sync(gctx, Up)
	})
	err := g.Wait()
	if err == nil {
		err = r.linkLate(ctx)
	}
	return cause(ctx, err)
}

func (r *relay) run(ctx context.Context) error {
	r.watcher.Begin(Run)
	spec := r.job.Command
	spec.Lease, spec.Absence = r.job.Lease.Name, r.job.Absence
	if spec.RunID == "" {
		spec.RunID = string(machine.NewName("run"))
	}
	if !path.IsAbs(spec.Dir) {
		spec.Dir = path.Join(r.job.Base, spec.Dir)
	}
	streams := r.job.Streams
	streams.Signals = r.stop.forward
	r.stop.run(true)
	exit, err := runclient.Run(ctx, r.dial, spec, streams, runclient.Options{
		Log:    r.job.Log,
		Resume: r.job.Resume,
		Lost:   func(cause error) { r.watcher.Lost(cause, r.job.Absence) },
		Back:   r.watcher.Back,
		Warn:   r.watcher.Warn,
	})
	r.stop.run(false)
	r.watcher.Ended()
	r.result.Exit = exit
	r.result.Ran = err == nil || fault.Is(err, fault.TimedOut)
	return cause(ctx, err)
}

// dial gives the run the connection that is open already, then new ones.
func (r *relay) dial(ctx context.Context) (*wire.Conn, error) {
	if conn := r.early; conn != nil {
		r.early = nil
		return conn, nil
	}
	return r.host.Open(ctx, host.Connect, nil)
}

// end releases the lease. An error that is there already is told first.
func (r *relay) end(ctx context.Context, err error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), releaseLimit)
	defer cancel()
	var released wire.LeaseReleased
	endErr := r.persist(ctx, func(ctx context.Context) error {
		return r.host.Call(ctx, wire.MethodLeaseRelease, wire.LeaseRelease{Name: r.job.Lease.Name}, &released)
	})
	for _, left := range released.Left[:min(len(released.Left), maxReleased)] {
		r.watcher.Warn("left on the machine: " + sanitize.Line(left, maxPath))
	}
	switch {
	case endErr == nil:
		return err
	case err == nil:
		return fault.New(fault.Of(endErr), "release lease %s: %w", r.job.Lease.Name, endErr)
	}
	return fault.New(fault.Of(err), "%w; and releasing lease %s: %v", err, r.job.Lease.Name, endErr)
}

func (r *relay) close() {
	r.control.close()
	for _, f := range r.folders {
		f.close()
	}
	if r.early != nil {
		r.early.Close()
	}
}

// keepLease renews the lease until the returned function is called.
func (r *relay) keepLease(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(r.job.Lease.TTL / 3)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			renew := wire.LeaseRenew{Name: r.job.Lease.Name, Expires: time.Now().Add(r.job.Lease.TTL)}
			if err := r.host.Call(ctx, wire.MethodLeaseRenew, renew, nil); err != nil {
				// The next tick tries again, twice before the lease expires.
				r.job.Log.Info("lease not renewed", "lease", r.job.Lease.Name, "cause", err)
			}
		}
	}()
	return func() {
		cancel()
		<-done
	}
}
