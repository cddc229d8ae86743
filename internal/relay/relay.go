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
	"outrigger.dev/outrigger/internal/wire"
	"outrigger.dev/outrigger/internal/worksync/transfer"
)

// maxReleased bounds how many things a machine may name that are left there.
const maxReleased = 20

// Do carries out the job on the machine. The error is what we failed to do; a
// command that failed is in the Result alone.
func Do(ctx context.Context, h *host.Host, job Job, watcher Watcher) (Result, error) {
	if job.Lease.TTL <= 0 {
		return Result{}, fault.New(fault.Internal, "lease %s: a time of %s, want more than 0", job.Lease.Name, job.Lease.TTL)
	}
	if job.Now == nil {
		job.Now = time.Now
	}
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
	switch {
	case r.result.Incomplete():
		r.giveSlot(ctx)
	case job.Lease.End:
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
	short  bool // not all files came back
	missed bool // and some of them can be read on the machine
}

func (r *relay) do(ctx context.Context) error {
	if r.job.Over {
		r.result.Started = true
		return r.bringBack(ctx, nil)
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
	// A run of which the machine only knows that it is over has left its files there all the same.
	if !r.result.Ran && (!r.result.Started || !fault.Is(err, fault.RunLost)) {
		return err
	}
	err = joinFaults([]error{err, r.checkLinks(ctx)})
	return r.bringBack(ctx, err)
}

// bringBack brings the files back, whatever went wrong since the command ended, which is told then.
func (r *relay) bringBack(ctx context.Context, err error) error {
	backErr := r.back(ctx)
	r.result.Whole = backErr == nil && !r.short
	r.result.Unread = err == nil && backErr == nil && r.short && !r.missed
	switch {
	case backErr == nil:
		return err
	case err == nil:
		return backErr
	}
	return fault.New(fault.Of(err), "%w; and bringing files back: %v", err, backErr)
}

func (r *relay) now() time.Time { return r.job.Now() }

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
			if f != r.control && !r.job.joins() {
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
		Attach: r.job.Attach,
		Where:  "the machine at " + r.host.Where(),
		Asked:  func() { r.result.Started = true },
		// From then on there is a command for signals.
		Started: r.stop.began,
		Lost:    func(cause error) { r.watcher.Lost(cause, r.job.Absence) },
		Back:    r.watcher.Back,
		Warn:    r.watcher.Warn,
	})
	r.stop.run(false)
	r.watcher.Ended()
	r.result.Exit = exit
	r.result.Ran = err == nil || fault.Is(err, fault.TimedOut)
	if runclient.Refused(err) {
		r.result.Started = false
	}
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

func (r *relay) close() {
	r.control.close()
	for _, f := range r.folders {
		f.close()
	}
	if r.early != nil {
		r.early.Close()
	}
}
