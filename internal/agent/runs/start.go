package runs

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"time"

	"outrigger.dev/outrigger/internal/agent/disk"
	"outrigger.dev/outrigger/internal/agent/loginenv"
	"outrigger.dev/outrigger/internal/agent/proc"
	"outrigger.dev/outrigger/internal/agent/spool"
	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/wire"
	"outrigger.dev/outrigger/internal/worksync/baseline"
)

// start makes the run's folder, which no other process can make again, and
// starts its command.
func (s *Supervisor) start(ctx context.Context, spec wire.RunSpec) (*Run, error) {
	login, warning := s.cfg.Login(ctx)
	var r *Run
	err := s.cfg.Leases.With(ctx, spec.Lease, func(dir disk.LeaseDir, rec disk.Lease) error {
		run, err := dir.Run(spec.RunID)
		if err != nil {
			return err
		}
		if err := dir.Reopen(); err != nil {
			return err
		}
		err = os.Mkdir(string(run), 0o700)
		if errors.Is(err, fs.ErrExist) {
			return errStartedBefore
		}
		if err != nil {
			return disk.Fault("run", err)
		}
		tmp := dir.Tmp()
		if s.cfg.Leases.OwnTmp(rec) {
			tmp = rec.Tmp
			err = disk.EnsureTmp(tmp)
		}
		if err == nil {
			r, err = s.launch(rewritten(spec, rec.Rewrites), place{dir, run, tmp, rec.Group}, login)
		}
		if err != nil {
			return errors.Join(err, disk.RemoveAll(ctx, string(run)))
		}
		return nil
	})
	if errors.Is(err, errStartedBefore) {
		return s.recover(ctx, spec.Lease, spec.RunID)
	}
	if err != nil {
		return nil, firstFault(err)
	}
	if warning != "" {
		r.warnings = append(r.warnings, warning)
	}
	s.cfg.Log.Info("run started", "lease", spec.Lease, "run", spec.RunID, "pid", r.proc.Identity().PID)
	s.supervise(r)
	return r, nil
}

var errStartedBefore = errors.New("run was started before")

// firstFault is the fault itself, without what the cleaning up added to it.
func firstFault(err error) error {
	var f *fault.Error
	if errors.As(err, &f) {
		return f
	}
	return err
}

// A place is where a run lives.
type place struct {
	lease disk.LeaseDir
	run   disk.RunDir
	tmp   string // TMPDIR
	group string // the lease's control group
}

// launch starts the command. Its record is written before, so that whoever
// finds a dead daemon knows that there may be processes.
func (s *Supervisor) launch(spec wire.RunSpec, at place, login loginenv.Login) (*Run, error) {
	run := at.run
	rec := disk.Run{ID: spec.RunID, Lease: spec.Lease, State: disk.Starting, Daemon: s.self,
		Tree: proc.Identity{ID: disk.Marker(spec.Lease, spec.RunID), Boot: s.self.Boot}}
	if err := run.Write(rec); err != nil {
		return nil, err
	}
	env := environ(login.Env, at.tmp, spec)
	wd, err := workdir(at.lease, spec.Dir)
	if err != nil {
		return nil, err
	}
	ps, err := command(spec, run, wd, env)
	if err != nil {
		return nil, err
	}
	ps.Group, ps.Umask = at.group, login.Umask
	ps = proc.Limited(ps, s.cfg.Self, login.Limits)
	log, err := spool.Create(run.Log(), spec.SpoolLimit)
	if err != nil {
		return nil, err
	}
	s.witnessed(at.lease, baseline.RunBegan)
	began := time.Now()
	p, err := s.cfg.Starter.Start(ps)
	if err != nil {
		return nil, errors.Join(startFault(ps, spec.Script != nil, err), log.Close())
	}
	rec.State, rec.Tree = disk.Running, p.Identity()
	if err := run.Write(rec); err != nil {
		err = errors.Join(err, p.Kill())
		p.Wait()
		return nil, errors.Join(err, p.Close(), log.Close())
	}
	return newRun(s, spec, rec, run, p, log, began), nil
}

// recover makes a run of what a dead daemon left: its output and its end. If the run had not
// ended, or that was not written down, its end says that it is lost.
func (s *Supervisor) recover(ctx context.Context, leaseName, id string) (*Run, error) {
	dir, err := s.cfg.Leases.Living(leaseName)
	if err != nil {
		return nil, err
	}
	run, err := dir.Run(id)
	if err != nil {
		return nil, err
	}
	rec, err := run.Read()
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fault.New(fault.RunLost, "run %s: not known on this machine", id)
	}
	if err != nil {
		s.cfg.Log.Warn("record of a run", "lease", leaseName, "run", id, "error", err)
		tree := proc.Identity{ID: disk.Marker(leaseName, id)}
		if err := proc.Kill(ctx, tree); err != nil {
			return nil, err
		}
		rec = disk.Run{ID: id, Lease: leaseName, State: disk.Lost, Tree: tree}
	}
	if rec.Live() && proc.Alive(rec.Daemon) {
		return nil, fault.New(fault.Busy, "run %s: another agent (process %d) looks after it", id, rec.Daemon.PID)
	}
	if _, err := os.Stat(run.Log()); errors.Is(err, fs.ErrNotExist) {
		return nil, fault.New(fault.RunLost, "run %s: it ended, and what it said was given out", id)
	}
	if _, err := s.cfg.Leases.Orphans(ctx, leaseName); err != nil {
		return nil, err
	}
	return s.reopen(run, rec)
}

// reopen makes a run of the output log that a dead daemon left.
func (s *Supervisor) reopen(run disk.RunDir, rec disk.Run) (*Run, error) {
	log, err := spool.Recover(run.Log())
	if err != nil {
		return nil, err
	}
	r := newRun(s, wire.RunSpec{RunID: rec.ID, Lease: rec.Lease}, rec, run, nil, log, time.Now())
	if log.Over() {
		// All of it was written, whatever the record of the run says: the daemon may have died in between.
		r.rec.State = disk.Ended
		r.settle()
	} else {
		why := "the agent that looked after it died, so it was killed"
		if rec.State == disk.Ended {
			why = "it ended, but the agent died before how was written down"
		}
		r.rec.State = disk.Lost
		r.finish(wire.RunExit{Ending: wire.EndedByFault, Fault: wire.FaultOf(fault.New(fault.RunLost, "run %s: %s", rec.ID, why))})
	}
	s.cfg.Log.Info("run recovered from a dead daemon", "lease", rec.Lease, "run", rec.ID, "state", r.rec.State, "bytes", log.Span().End)
	return r, nil
}
