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
	"time"

	"golang.org/x/sync/errgroup"

	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/host"
	"outrigger.dev/outrigger/internal/machine"
	"outrigger.dev/outrigger/internal/runclient"
	"outrigger.dev/outrigger/internal/wire"
)

// releaseLimit bounds the release of a lease, which goes on after ctx is cancelled.
const releaseLimit = 30 * time.Second

// Do carries out the job on the machine. The error is what we failed to do; a
// command that failed is in the Result alone.
func Do(ctx context.Context, h *host.Host, job Job, watcher Watcher) (Result, error) {
	stop, ctx := watch(ctx, job.Signals)
	defer stop.end()
	r := &relay{host: h, job: job, watcher: watcher, stop: stop}
	defer r.close()
	err := r.do(ctx)
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
	result  Result

	files *files     // the connection that files go over
	early *wire.Conn // a connection for the run, opened while the files go up
}

func (r *relay) do(ctx context.Context) error {
	if err := r.prepare(ctx); err != nil {
		return err
	}
	renewed := r.keepLease(ctx)
	defer renewed()

	if err := r.run(ctx); err != nil {
		if !r.result.Ran {
			return err
		}
		// The command ran, so what it wrote is brought back before its fault is told.
		if backErr := r.back(ctx); backErr != nil {
			return fault.New(fault.Of(err), "%w; and bringing files back: %v", err, backErr)
		}
		return err
	}
	return r.back(ctx)
}

// prepare takes the lease, brings the files up, makes the link, and opens the
// run's connection beside that.
func (r *relay) prepare(ctx context.Context) error {
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		// On a machine without the agent both connections would bring it there.
		// The second waits until the first has it.
		if err := r.persist(gctx, r.openFiles); err != nil {
			return err
		}
		g.Go(func() error {
			// If it fails the run dials by itself, and tells why it cannot.
			if conn, err := r.host.Open(gctx, host.Connect, nil); err == nil {
				r.early = conn
			}
			return nil
		})
		if err := r.up(gctx); err != nil {
			return err
		}
		return r.link(gctx)
	})
	return cause(ctx, g.Wait())
}

// link makes the folder appear at the path that the job wants.
func (r *relay) link(ctx context.Context) error {
	at := r.job.Files.At
	if at == "" {
		return nil
	}
	var answer wire.LinkAnswer
	request := wire.LinkRequest{Lease: r.job.Lease.Name, Path: at, Target: r.job.Files.Folder}
	if err := r.persist(ctx, func(ctx context.Context) error { return r.host.Call(ctx, wire.MethodLink, request, &answer) }); err != nil {
		return err
	}
	if answer.Rewrite {
		r.watcher.Warn("the folder cannot be made to appear at " + at + " on the machine (" + answer.Why + "); " +
			"the path is replaced by " + answer.Target + " in the command, its environment and its script")
	}
	return nil
}

func (r *relay) run(ctx context.Context) error {
	r.watcher.Begin(Run)
	spec := r.job.Command
	spec.RunID, spec.Lease, spec.Absence = string(machine.NewName("run")), r.job.Lease.Name, r.job.Absence
	if !path.IsAbs(spec.Dir) {
		base := r.job.Files.Folder
		if r.job.Files.At != "" {
			base = r.job.Files.At
		}
		spec.Dir = path.Join(base, spec.Dir)
	}
	streams := r.job.Streams
	streams.Signals = r.stop.forward
	r.stop.run(true)
	exit, err := runclient.Run(ctx, r.dial, spec, streams, runclient.Options{
		Log:  r.job.Log,
		Lost: func(cause error) { r.watcher.Lost(cause, r.job.Absence) },
		Back: r.watcher.Back,
		Warn: r.watcher.Warn,
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
	endErr := r.persist(ctx, func(ctx context.Context) error {
		return r.host.Call(ctx, wire.MethodLeaseRelease, wire.LeaseRelease{Name: r.job.Lease.Name}, nil)
	})
	switch {
	case endErr == nil:
		return err
	case err == nil:
		return fault.New(fault.Of(endErr), "release lease %s: %w", r.job.Lease.Name, endErr)
	}
	return fault.New(fault.Of(err), "%w; and releasing lease %s: %v", err, r.job.Lease.Name, endErr)
}

func (r *relay) close() {
	if r.files != nil {
		r.files.close()
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
