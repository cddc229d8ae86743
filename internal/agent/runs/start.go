package runs

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"time"

	"outrigger.dev/outrigger/internal/agent/disk"
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
		err = os.Mkdir(string(run), 0o700)
		if errors.Is(err, fs.ErrExist) {
			return errStartedBefore
		}
		if err != nil {
			return disk.Fault("run", err)
		}
		r, err = s.launch(rewritten(spec, rec.Rewrites), dir, run, login)
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

// launch starts the command. Its record is written before, so that whoever
// finds a dead daemon knows that there may be processes.
func (s *Supervisor) launch(spec wire.RunSpec, dir disk.LeaseDir, run disk.RunDir, login []string) (*Run, error) {
	rec := disk.Run{ID: spec.RunID, Lease: spec.Lease, State: disk.Starting, Daemon: s.self,
		Tree: proc.Identity{ID: markerOf(spec.Lease, spec.RunID), Boot: s.self.Boot}}
	if err := run.Write(rec); err != nil {
		return nil, err
	}
	env := environ(login, dir, spec)
	wd, err := workdir(dir, spec.Dir)
	if err != nil {
		return nil, err
	}
	ps, err := command(spec, run, wd, env)
	if err != nil {
		return nil, err
	}
	log, err := spool.Create(run.Log(), spec.SpoolLimit)
	if err != nil {
		return nil, err
	}
	s.witnessed(dir, baseline.RunBegan)
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

// recover makes a run of what a dead daemon left: its output, and an end that
// says that the run is lost.
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
		return nil, err
	}
	if rec.Live() && proc.Alive(rec.Daemon) {
		return nil, fault.New(fault.Busy, "run %s: another agent (process %d) looks after it", id, rec.Daemon.PID)
	}
	if rec.State == disk.Ended {
		return nil, fault.New(fault.RunLost, "run %s: it ended, and what it said was given out", id)
	}
	if _, err := s.cfg.Leases.Orphans(ctx, leaseName); err != nil {
		return nil, err
	}
	log, err := spool.Recover(run.Log())
	if err != nil {
		return nil, err
	}
	rec.State = disk.Lost
	r := newRun(s, wire.RunSpec{RunID: id, Lease: leaseName}, rec, run, nil, log, time.Now())
	lost := fault.New(fault.RunLost, "run %s: the agent that looked after it died, so it was killed", id)
	r.finish(wire.RunExit{Ending: wire.EndedByFault, Fault: wire.FaultOf(lost)})
	s.cfg.Log.Info("run recovered from a dead daemon", "lease", leaseName, "run", id, "bytes", log.Span().End)
	return r, nil
}
