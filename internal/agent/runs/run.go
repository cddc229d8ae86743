package runs

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"outrigger.dev/outrigger/internal/agent/disk"
	"outrigger.dev/outrigger/internal/agent/proc"
	"outrigger.dev/outrigger/internal/agent/spool"
	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/wire"
)

// drainLimit is how long the pipes of a dead tree may stay open. Only a process
// that escaped the tree can hold them; what it would say is not waited for.
const drainLimit = 5 * time.Second

// A Run is one run under way, or one that ended and has not been given out.
type Run struct {
	s        *Supervisor
	spec     wire.RunSpec
	dir      disk.RunDir
	log      *spool.Log
	in       *input
	proc     *proc.Process // nil when recovered
	began    time.Time
	warnings []string
	dead     chan struct{} // closed when the run's processes are
	die      func()        // closes dead, once
	finished chan struct{} // closed when the exit is in the log
	gone     chan struct{} // closed when the run is dropped

	mu       sync.Mutex
	rec      disk.Run
	ending   wire.Ending // who ended it, "" for itself
	killing  bool
	ended    bool // the exit is in the log
	dropped  bool
	session  *session    // the client, nil if none is connected
	deadline *time.Timer // for the client to come back
	timeout  *time.Timer
}

func newRun(s *Supervisor, spec wire.RunSpec, rec disk.Run, dir disk.RunDir, p *proc.Process, log *spool.Log, began time.Time) *Run {
	if spec.Absence <= 0 {
		spec.Absence = wire.DefaultAbsence
	}
	if spec.KillGrace <= 0 {
		spec.KillGrace = wire.DefaultKillGrace
	}
	r := &Run{s: s, spec: spec, rec: rec, dir: dir, proc: p, log: log, began: began, dead: make(chan struct{}), finished: make(chan struct{}), gone: make(chan struct{})}
	r.die = sync.OnceFunc(func() { close(r.dead) })
	r.in = newInput(r.told)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.awaitClient()
	return r
}

// supervise starts what a run needs while its processes live.
func (s *Supervisor) supervise(r *Run) {
	var pipes sync.WaitGroup
	pipes.Go(func() { r.copy(wire.RecordStdout, r.proc.Stdout) })
	if r.proc.Stderr != nil {
		pipes.Go(func() { r.copy(wire.RecordStderr, r.proc.Stderr) })
	}
	s.tasks.Go(r.feed)
	s.tasks.Go(r.watchDisk)
	if r.spec.Timeout > 0 {
		r.mu.Lock()
		r.timeout = time.AfterFunc(r.spec.Timeout, func() { r.End(wire.EndedByTimeout, false) })
		r.mu.Unlock()
	}
	s.tasks.Go(func() {
		st := r.proc.Wait()
		took := time.Since(r.began)
		r.bury(&pipes)
		r.finish(r.exit(st, took))
	})
}

// bury kills what the main process left behind, as a container's end does, and
// takes what is still in the pipes.
func (r *Run) bury(pipes *sync.WaitGroup) {
	if err := r.proc.Kill(); err != nil {
		r.s.cfg.Log.Error("kill what a run left behind", "run", r.spec.RunID, "error", err)
	}
	r.die()
	r.log.Unlimit()
	drained := make(chan struct{})
	go func() {
		pipes.Wait()
		close(drained)
	}()
	select {
	case <-drained:
	case <-time.After(drainLimit):
		r.s.cfg.Log.Warn("a process outside the run holds its output open", "run", r.spec.RunID)
	}
	if err := r.proc.Close(); err != nil {
		r.s.cfg.Log.Error("close a run's streams", "run", r.spec.RunID, "error", err)
	}
	<-drained
	if err := r.s.cfg.Starter.Reap(); err != nil {
		r.s.cfg.Log.Error("reap", "error", err)
	}
}

// copy logs what the run says until its end.
func (r *Run) copy(k wire.RecordKind, f *os.File) {
	buf := make([]byte, wire.MaxRecord)
	for {
		n, err := f.Read(buf)
		if n > 0 {
			// It does not fail: its context never ends. It waits for a client who
			// is slow, and no longer than until the run's end.
			if err := r.log.Append(context.Background(), k, buf[:n]); err != nil {
				r.s.cfg.Log.Error("log output", "run", r.spec.RunID, "error", err)
			}
		}
		if err != nil {
			return // the end: EOF of a pipe, EIO of a terminal
		}
	}
}

// feed writes stdin to the run, in order. What the run does not want to read
// any more is dropped, as the kernel would drop it.
func (r *Run) feed() {
	open := true
	for {
		it, changed, ok := r.in.next()
		if !ok {
			select {
			case <-changed:
				continue
			case <-r.dead:
				return
			}
		}
		if open {
			var err error
			switch it.kind {
			case wire.RecordStdin:
				_, err = r.proc.Stdin.Write(it.payload)
			case wire.RecordEOF:
				err = r.proc.EndInput()
				open = r.spec.TTY != nil
			}
			open = open && err == nil
		}
		r.in.pop()
	}
}

// told acts on a record that does not wait its turn.
func (r *Run) told(rec wire.Record) {
	if r.proc == nil || r.isDead() {
		return // it is over
	}
	var err error
	switch rec.Kind {
	case wire.RecordSignal:
		err = r.proc.Signal(string(rec.Payload))
	case wire.RecordResize:
		var size wire.WinSize
		if err = wire.Unmarshal(rec.Payload, &size); err == nil {
			err = r.proc.Resize(size)
		}
	}
	if err != nil {
		r.s.cfg.Log.Warn("tell run", "run", r.spec.RunID, "kind", rec.Kind, "error", err)
	}
}

// watchDisk ends the run when the disk takes no more of its output. Nothing is
// lost until then: the log goes on in memory.
func (r *Run) watchDisk() {
	for {
		span := r.log.Span()
		if r.log.Broken() != nil {
			r.End(wire.EndedByFault, true) // at once: from now on its output is in our memory
			return
		}
		select {
		case <-span.Changed:
		case <-r.dead:
			return
		}
	}
}

// End asks the run's processes to end, and kills them after the run's grace, or
// now. It returns at once.
func (r *Run) End(why wire.Ending, now bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.proc == nil || r.isDead() {
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
	if _, err := r.s.cfg.Leases.Living(r.spec.Lease); err != nil && e.Ending == "" {
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
	if r.timeout != nil {
		r.timeout.Stop()
	}
	r.ended = true
	err = errors.Join(err, r.writeRecord())
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
	r.s.cfg.Log.Info("run ended", "run", r.spec.RunID, "code", e.Code, "signal", e.Signal, "ending", e.Ending)
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

// drop forgets a run that ended: what it said is with the client, or nobody wants it.
func (r *Run) drop() {
	<-r.finished
	r.mu.Lock()
	if r.dropped {
		r.mu.Unlock()
		return
	}
	r.dropped = true
	r.deadline.Stop()
	ses := r.session
	r.mu.Unlock()
	close(r.gone)
	if ses != nil {
		ses.conn.Close()
	}
	err := r.log.Close()
	if _, lerr := r.s.cfg.Leases.Living(r.spec.Lease); lerr == nil {
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
