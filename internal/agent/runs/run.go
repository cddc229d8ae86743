package runs

import (
	"context"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"outrigger.dev/outrigger/internal/agent/disk"
	"outrigger.dev/outrigger/internal/agent/proc"
	"outrigger.dev/outrigger/internal/agent/spool"
	"outrigger.dev/outrigger/internal/wire"
	"outrigger.dev/outrigger/internal/worksync/baseline"
)

// drainLimit is how long the pipes of a dead tree may stay open. Only a process
// that escaped the tree can hold them; what it would say is not waited for.
const drainLimit = 5 * time.Second

// What the main process leaves behind may have something to say yet, such as the tee of
// "exec > >(tee log)". While it holds the output open it is left alone, until it has said
// nothing for quietLimit, and no longer than lingerLimit: a server in the background
// holds its output for ever. Guesses: a tee is done within milliseconds, unless the machine
// is very busy.
const (
	quietLimit  = 2 * time.Second
	lingerLimit = 10 * time.Second
	lingerStep  = 50 * time.Millisecond
)

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
	enough   chan struct{} // closed when what the main process left behind has had its time
	hurry    func()        // closes enough, once
	finished chan struct{} // closed when the exit is in the log
	gone     chan struct{} // closed when the run is dropped

	mu       sync.Mutex
	rec      disk.Run
	ending   wire.Ending // who ended it, "" for itself
	killing  bool
	over     bool // its main process has ended
	ended    bool // the exit is in the log
	dropped  bool
	session  *session    // the client, nil if none is connected
	deadline *time.Timer // for the client to come back
	timeout  *time.Timer

	said    atomic.Int64 // bytes read from the streams
	waiting atomic.Int32 // streams that wait until the client has taken what is there
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
	r.enough = make(chan struct{})
	r.hurry = sync.OnceFunc(func() { close(r.enough) })
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
		r.mu.Lock()
		r.over = true
		killed := r.ending != ""
		r.mu.Unlock()
		drained := make(chan struct{})
		go func() {
			pipes.Wait()
			close(drained)
		}()
		if !killed && r.spec.TTY == nil { // a terminal hangs up when its first process ends
			r.linger(drained)
		}
		r.bury(drained)
		s.witnessed(r.dir.Lease(), baseline.RunEnded)
		r.finish(r.exit(st, took))
	})
}

// linger waits until nothing of the run holds its output open any more, or has
// had its time.
func (r *Run) linger(drained <-chan struct{}) {
	tick := time.NewTicker(lingerStep)
	defer tick.Stop()
	var quiet, total time.Duration
	for before := r.said.Load(); quiet < quietLimit && total < lingerLimit; {
		select {
		case <-drained:
			return
		case <-r.enough:
			return
		case <-tick.C:
		}
		said := r.said.Load()
		switch {
		case r.waiting.Load() > 0: // for the client: that is not its fault
			continue
		case said != before:
			before, quiet = said, 0
		default:
			quiet += lingerStep
		}
		total += lingerStep
	}
}

// bury kills what the main process left behind, as a container's end does, and
// takes what is still in the pipes.
func (r *Run) bury(drained <-chan struct{}) {
	if err := r.proc.Kill(); err != nil {
		r.s.cfg.Log.Error("kill what a run left behind", "run", r.spec.RunID, "error", err)
	}
	r.die()
	r.log.Unlimit()
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
			r.said.Add(int64(n))
			r.waiting.Add(1)
			// It does not fail: its context never ends. It waits for a client who
			// is slow, and no longer than until the run's end.
			if err := r.log.Append(context.Background(), k, buf[:n]); err != nil {
				r.s.cfg.Log.Error("log output", "run", r.spec.RunID, "error", err)
			}
			r.waiting.Add(-1)
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
