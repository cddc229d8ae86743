package ledger

import (
	"errors"
	"io/fs"
	"os"
	"sort"
	"sync"
	"time"

	"github.com/gofrs/flock"

	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/machine"
	"outrigger.dev/outrigger/internal/rawpath"
)

// A Run is a command on a machine whose results are not all here yet. It is written before the
// command starts, with all that it takes to get them, so that they can be fetched whatever becomes
// of the client; and removed when all of them are here.
type Run struct {
	ID       string       `json:"id"` // of a run on a machine of its own: the machine's name
	Machine  machine.Name `json:"machine"`
	Provider string       `json:"provider"` // configured name
	// Lease is the lease on the machine, and Created when the machine made it: another one of the
	// same name has nothing of this run.
	Lease   string    `json:"lease"`
	Created time.Time `json:"created"`
	Lasting bool      `json:"lasting,omitempty"` // the machine was made to stay, and outlives the run
	// Dir is the folder here, "" for none; Folder its place below the lease's work folder, and At the
	// path under which it appears. The three name its workspace.
	Dir    rawpath.Path `json:"dir,omitempty"`
	Folder string       `json:"folder,omitempty"`
	At     rawpath.Path `json:"at,omitempty"`
	// Exclude are patterns, in whatever encoding the names are.
	Exclude []rawpath.Path `json:"exclude,omitempty"`
	// TakeGit and AllowDeletions are what the run's flags of these names said.
	TakeGit        bool   `json:"takeGit,omitempty"`
	AllowDeletions bool   `json:"allowDeletions,omitempty"`
	Conflict       string `json:"conflict,omitempty"`
	Program        string `json:"program"`        // the command's first word, for people
	Keep           bool   `json:"keep,omitempty"` // --keep: the machine stays also when all is fetched

	// Unread: nothing is left on the machine but what its login cannot read.
	Unread bool `json:"unread,omitempty"`

	Started time.Time `json:"started"`
	// Until is how long the results are kept for. While the client lives it moves on.
	Until  time.Time `json:"until"`
	Exit   *int      `json:"exit,omitempty"` // how the command ended, once that is known
	Client int       `json:"client"`         // process number, for people only
}

// Over tells whether the run's results are not kept any more.
func (r Run) Over(now time.Time) bool { return now.After(r.Until) }

// A RunEntry is a run's record held by this process.
type RunEntry struct {
	l    *Ledger
	lock *flock.Flock

	mu  sync.Mutex
	rec Run
}

// AddRun writes a run's record and holds it.
func (l *Ledger) AddRun(rec Run) (*RunEntry, error) {
	lock, err := l.lockRun(rec.ID)
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(l.runs.file(rec.ID)); err == nil {
		return nil, errors.Join(fault.New(fault.NameTaken, "run %s: exists already", rec.ID), lock.Unlock())
	}
	e := &RunEntry{l: l, rec: rec, lock: lock}
	if err := l.runs.write(rec.ID, rec); err != nil {
		l.runs.dropLock(rec.ID, lock)
		return nil, err
	}
	return e, nil
}

// HoldRun takes the record of a run that nobody attends. Faults: UnknownRun, and Busy while another
// process holds it.
func (l *Ledger) HoldRun(id string) (*RunEntry, error) {
	if _, err := l.GetRun(id); err != nil {
		return nil, err // before the lock, so that no lock file is made for a name that is not there
	}
	lock, err := l.lockRun(id)
	if err != nil {
		return nil, err
	}
	rec, err := l.GetRun(id)
	if err != nil {
		l.runs.dropLock(id, lock)
		return nil, err
	}
	return &RunEntry{l: l, rec: rec, lock: lock}, nil
}

func (l *Ledger) lockRun(id string) (*flock.Flock, error) {
	if _, err := machine.ParseName(id); err != nil { // it becomes a file's name
		return nil, unknownRun(id)
	}
	lock, err := l.runs.lock(id, false)
	if err == nil && lock == nil {
		rec, _ := l.GetRun(id) // only to name the holder
		return nil, fault.New(fault.Busy, "run %s: process %d attends to it", id, rec.Client)
	}
	return lock, err
}

func unknownRun(id string) error { return fault.New(fault.UnknownRun, "run %q: not known here", id) }

// GetRun reads one run's record, held or not.
func (l *Ledger) GetRun(id string) (Run, error) {
	if _, err := machine.ParseName(id); err != nil {
		return Run{}, unknownRun(id)
	}
	var rec Run
	err := l.runs.read(id, &rec)
	if errors.Is(err, fs.ErrNotExist) {
		return Run{}, unknownRun(id)
	}
	return rec, err
}

// Runs reads all runs' records, the oldest first. One that cannot be read is left out and named in
// the error, which does not stop the others.
func (l *Ledger) Runs() ([]Run, error) {
	names, err := l.runs.names()
	if err != nil {
		return nil, err
	}
	var recs []Run
	var errs []error
	for _, name := range names {
		rec, err := l.GetRun(name)
		switch {
		case fault.Is(err, fault.UnknownRun): // removed since the listing
		case err != nil:
			errs = append(errs, err)
		default:
			recs = append(recs, rec)
		}
	}
	sort.Slice(recs, func(i, j int) bool { return recs[i].Started.Before(recs[j].Started) })
	return recs, errors.Join(errs...)
}

// Wanted tells until when a machine is kept for the results of runs on it. A record that cannot be
// read is an error: it may say that they are.
func (l *Ledger) Wanted(name machine.Name, now time.Time) (until time.Time, ok bool, err error) {
	recs, err := l.Runs()
	for _, r := range recs {
		if r.Machine == name && !r.Over(now) && r.Until.After(until) {
			until, ok = r.Until, true
		}
	}
	return until, ok, err
}

// Record returns what is written.
func (e *RunEntry) Record() Run {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.rec
}

// Update changes the record and writes it. It may be called at once.
func (e *RunEntry) Update(change func(*Run)) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	change(&e.rec)
	return e.l.runs.write(e.rec.ID, e.rec)
}

// Release lets go of the record and leaves it in the ledger.
func (e *RunEntry) Release() error { return e.lock.Unlock() }

// Remove takes the record out of the ledger: nothing of the run is wanted any more.
func (e *RunEntry) Remove() error { return e.l.runs.remove(e.rec.ID, e.lock) }
