package runs

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"outrigger.dev/outrigger/internal/agent/disk"
	"outrigger.dev/outrigger/internal/agent/proc"
	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/wire"
)

// End asks the run's processes to end, and kills them after the run's grace, or
// now. It returns at once.
func (r *Run) End(why wire.Ending, now bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.proc == nil || r.isDead() {
		return
	}
	if r.over {
		r.hurry() // it ended by itself; what it left behind is not waited for any longer
		return
	}
	if r.ending == "" {
		r.ending = why
	}
	if now {
		r.s.tasks.Go(r.kill)
	} else if !r.killing {
		r.s.tasks.Go(r.terminate)
	}
	r.killing = true
}

func (r *Run) isDead() bool {
	select {
	case <-r.dead:
		return true
	default:
		return false
	}
}

func (r *Run) terminate() {
	signals := []string{"TERM"}
	if r.spec.TTY != nil {
		signals = []string{"HUP", "TERM"} // a shell at a terminal ignores TERM
	}
	for _, sig := range signals {
		if err := r.proc.Signal(sig); err != nil {
			r.s.cfg.Log.Warn("ask run to end", "run", r.spec.RunID, "error", err)
		}
	}
	select {
	case <-time.After(r.spec.KillGrace):
		r.kill()
	case <-r.dead:
	}
}

func (r *Run) kill() {
	if r.isDead() {
		return
	}
	if err := r.proc.Kill(); err != nil {
		r.s.cfg.Log.Error("kill run", "run", r.spec.RunID, "error", err)
	}
}

// exit says how the run ended, and who ended it.
func (r *Run) exit(st proc.Status, took time.Duration) wire.RunExit {
	e := wire.RunExit{Code: st.Code, Signal: st.Signal, SigNum: st.SigNum, MaxRSS: st.MaxRSS, Started: r.began.UTC(), Took: took}
	r.mu.Lock()
	e.Ending = r.ending
	r.mu.Unlock()
	if _, err := r.s.cfg.Leases.Living(r.spec.Lease); fault.Is(err, fault.RunLost) && e.Ending == "" {
		e.Ending = wire.EndedByRelease
	}
	if err := r.log.Broken(); err != nil {
		e.Ending, e.Fault = wire.EndedByFault, wire.FaultOf(fmt.Errorf("run %s: %w", r.spec.RunID, err))
	} else if e.Ending == wire.EndedByFault {
		e.Fault = wire.FaultOf(fault.New(fault.RunLost, "run %s: the agent on the machine was stopped", r.spec.RunID))
	}
	return e
}

// finish writes the exit, the last record of the log.
func (r *Run) finish(e wire.RunExit) {
	b, err := wire.Marshal(e)
	if err == nil {
		r.log.Unlimit()
		err = r.log.Append(context.Background(), wire.RecordExit, b) // without a limit it does not wait
	}
	r.mu.Lock()
	if r.rec.State == disk.Running {
		r.rec.State = disk.Ended
	}
	away := r.session == nil
	r.mu.Unlock()
	if away {
		// Nobody has it yet, and the machine may lose its power until somebody comes.
		err = errors.Join(err, r.log.Sync())
	}
	if err != nil {
		r.s.cfg.Log.Error("write down how a run ended", "run", r.spec.RunID, "error", err)
	}
	r.s.cfg.Log.Info("run ended", "run", r.spec.RunID, "code", e.Code, "signal", e.Signal, "ending", e.Ending)
	r.settle()
}

// settle makes the run one whose exit is in the log, which waits for its client.
func (r *Run) settle() {
	r.mu.Lock()
	if r.timeout != nil {
		r.timeout.Stop()
	}
	r.ended = true
	err := r.writeRecord()
	if disk.IsFull(err) && r.s.cfg.Leases.Spend(r.spec.Lease) {
		err = r.writeRecord() // else nobody gets at its files while this daemon lives
	}
	unwanted := false
	if r.session == nil {
		r.awaitClient()
		unwanted = r.complete()
	}
	r.mu.Unlock()
	r.die()
	close(r.finished)
	if err != nil {
		r.s.cfg.Log.Error("record the end of a run", "run", r.spec.RunID, "error", err)
	}
	if unwanted {
		r.drop()
	}
}

// writeRecord leaves out what is gone: a released lease has no records.
func (r *Run) writeRecord() error {
	if err := r.dir.Write(r.rec); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// awaitClient gives the client the run's absence to come back. It is called
// with r.mu held, while nobody is connected.
func (r *Run) awaitClient() {
	if r.deadline != nil {
		r.deadline.Stop()
	}
	r.deadline = time.AfterFunc(r.spec.Absence, func() {
		r.mu.Lock()
		away, ended := r.session == nil, r.ended
		r.mu.Unlock()
		switch {
		case !away:
		case ended:
			r.drop()
		default:
			r.s.cfg.Log.Info("nobody came back to the run", "run", r.spec.RunID, "absence", r.spec.Absence)
			r.End(wire.EndedByAbsence, false)
		}
	})
}

// drop forgets a run that ended, and removes what it said: that is with the client, or nobody wants it.
func (r *Run) drop() { r.forget(true) }

// forget lets go of a run that ended. What it said stays for the next daemon unless
// everybody has had it.
func (r *Run) forget(unwanted bool) {
	<-r.finished
	r.mu.Lock()
	if r.dropped {
		r.mu.Unlock()
		return
	}
	r.dropped = true
	r.deadline.Stop()
	ses := r.session
	unwanted = unwanted || r.complete()
	r.mu.Unlock()
	close(r.gone)
	if ses != nil {
		ses.conn.Close()
	}
	var err error
	if !unwanted {
		err = r.log.Sync()
	}
	err = errors.Join(err, r.log.Close())
	if _, lerr := r.s.cfg.Leases.Living(r.spec.Lease); lerr == nil && unwanted {
		err = errors.Join(err, disk.RemoveAll(context.Background(), r.dir.Log()))
	}
	if err != nil {
		r.s.cfg.Log.Error("remove the output of a run", "run", r.spec.RunID, "error", err)
	}
	r.s.forget(key{r.spec.Lease, r.spec.RunID})
}

func (r *Run) state() wire.RunState {
	r.mu.Lock()
	defer r.mu.Unlock()
	return wire.RunState{RunID: r.spec.RunID, Lease: r.spec.Lease, PID: r.rec.Tree.PID, Started: r.began.UTC(), Attached: r.session != nil, Ended: r.ended}
}
