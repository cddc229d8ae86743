// Package ledger keeps, on this computer, what this installation asked
// providers for: one file per machine, written before the machine is created
// and removed after it is deleted.
//
// A record is held by the process that uses the machine, through a lock on a
// file beside it. The lock ends with the process, however it ends, so whether a
// record's client still lives is a question for the kernel and not for a
// process number that may have been used again. What nobody holds and nobody
// wants kept is what a sweep (outrigger gc) removes.
package ledger

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"time"

	"github.com/gofrs/flock"

	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/machine"
)

// A Record is what is known here of one machine.
type Record struct {
	Name     machine.Name  `json:"name"`
	Provider string        `json:"provider"` // configured name
	Owner    machine.Owner `json:"owner"`
	Created  time.Time     `json:"created"`
	Expires  time.Time     `json:"expires,omitzero"` // zero: never
	Keep     bool          `json:"keep,omitempty"`   // made to stay: only expiry or a person ends it
	Image    string        `json:"image,omitempty"`
	Client   int           `json:"client"` // process number, for people only
}

// Expired tells whether the record's time is over.
func (r Record) Expired(now time.Time) bool { return !r.Expires.IsZero() && now.After(r.Expires) }

// A Ledger is the folder of records, and that of runs beside it.
type Ledger struct {
	machines, runs folder
}

// Open returns the ledger below state, which it creates with mode 0700.
func Open(state string) (*Ledger, error) {
	l := &Ledger{folder{filepath.Join(state, "ledger")}, folder{filepath.Join(state, "runs")}}
	for _, f := range []folder{l.machines, l.runs} {
		if err := os.MkdirAll(f.dir, 0o700); err != nil {
			return nil, stateFault("ledger: %w", err)
		}
	}
	return l, nil
}

// ownerTemp begins the names of files that become the owner's.
const ownerTemp = ".owner-"

// Owner returns this installation's identity, made at first use.
func (l *Ledger) Owner() (machine.Owner, error) {
	id, err := l.random("owner", 8)
	return machine.Owner(id), err
}

// Secret returns what only this installation knows, made at first use. Unlike the owner it is given to
// nobody; what is derived from it proves that a lease is ours.
func (l *Ledger) Secret() (machine.Secret, error) {
	text, err := l.random("secret", 32)
	return machine.NewSecret(text), err
}

// random returns the content of a file beside the ledger, n random bytes in hex, made at first use.
func (l *Ledger) random(name string, n int) (string, error) {
	path := filepath.Join(filepath.Dir(l.machines.dir), name)
	for {
		b, err := os.ReadFile(path)
		if err == nil {
			return strings.TrimSpace(string(b)), nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return "", stateFault("ledger: %w", err)
		}
		id := make([]byte, n)
		_, _ = rand.Read(id) // never fails, see crypto/rand
		// Link fails when another process was first; its word then counts. The name of the file does not
		// tell what is in it.
		tmp := filepath.Join(l.machines.dir, ownerTemp+rand.Text())
		if err := writeSynced(tmp, []byte(hex.EncodeToString(id)+"\n")); err != nil {
			return "", err
		}
		err = os.Link(tmp, path)
		os.Remove(tmp)
		// A tidying process may have taken the file away: then we try again.
		if err != nil && !errors.Is(err, fs.ErrExist) && !errors.Is(err, fs.ErrNotExist) {
			return "", stateFault("ledger: %w", err)
		}
	}
}

// An Entry is a record held by this process.
type Entry struct {
	l    *Ledger
	rec  Record
	lock *flock.Flock
}

// Add writes a new record and holds it. A name that is taken is a fault of
// kind NameTaken.
func (l *Ledger) Add(rec Record) (*Entry, error) {
	lock, err := l.lock(rec.Name, false)
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(l.machines.file(string(rec.Name))); err == nil {
		lock.Unlock()
		return nil, fault.New(fault.NameTaken, "machine %s: exists already", rec.Name)
	}
	e := &Entry{l: l, rec: rec, lock: lock}
	if err := e.write(); err != nil {
		lock.Unlock()
		return nil, err
	}
	return e, nil
}

// Hold takes an existing record for this process alone; shared lets others use
// the machine at the same time. Faults: UnknownMachine, and Busy while another
// process holds it.
func (l *Ledger) Hold(name machine.Name, shared bool) (*Entry, error) {
	if _, err := l.Get(name); err != nil {
		return nil, err // before the lock, so that no lock file is made for a name that is not there
	}
	lock, err := l.lock(name, shared)
	if err != nil {
		return nil, err
	}
	rec, err := l.Get(name) // again: it may have gone while we waited for the lock
	if err != nil {
		l.machines.dropLock(string(name), lock)
		return nil, err
	}
	return &Entry{l: l, rec: rec, lock: lock}, nil
}

// Record returns what is written.
func (e *Entry) Record() Record { return e.rec }

// Update changes the record and writes it.
func (e *Entry) Update(change func(*Record)) error {
	change(&e.rec)
	return e.write()
}

// Release lets go of the record and leaves it in the ledger.
func (e *Entry) Release() error { return e.lock.Unlock() }

// Remove takes the record out of the ledger; its machine must be gone.
func (e *Entry) Remove() error {
	return e.l.machines.remove(string(e.rec.Name), e.lock)
}

// Get reads one record, held or not.
func (l *Ledger) Get(name machine.Name) (Record, error) {
	var rec Record
	err := l.machines.read(string(name), &rec)
	if errors.Is(err, fs.ErrNotExist) {
		return Record{}, fault.New(fault.UnknownMachine, "machine %q: not known here", name)
	}
	return rec, err
}

// List reads all records, by name. A record that cannot be read is left out
// and named in the error, which does not stop the others.
func (l *Ledger) List() ([]Record, error) {
	names, err := l.machines.names()
	if err != nil {
		return nil, err
	}
	var recs []Record
	var errs []error
	for _, name := range names {
		rec, err := l.Get(machine.Name(name))
		switch {
		case fault.Is(err, fault.UnknownMachine): // removed since the listing
		case err != nil:
			errs = append(errs, err)
		default:
			recs = append(recs, rec)
		}
	}
	sort.Slice(recs, func(i, j int) bool { return recs[i].Name < recs[j].Name })
	return recs, errors.Join(errs...)
}

// lock takes the lock of a machine's name without waiting.
func (l *Ledger) lock(n machine.Name, shared bool) (*flock.Flock, error) {
	lock, err := l.machines.lock(string(n), shared)
	if err == nil && lock == nil {
		rec, _ := l.Get(n) // only to name the holder
		return nil, fault.New(fault.Busy, "machine %s: in use by process %d", n, rec.Client)
	}
	return lock, err
}

func (e *Entry) write() error { return e.l.machines.write(string(e.rec.Name), e.rec) }
