package disk

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"time"

	"outrigger.dev/outrigger/internal/agent/proc"
	"outrigger.dev/outrigger/internal/fault"
)

// A Lease is the content of lease.json.
type Lease struct {
	Name      string    `json:"name"`
	Owner     string    `json:"owner"`
	Note      string    `json:"note,omitempty"`
	Created   time.Time `json:"created"`
	Expires   time.Time `json:"expires"`
	Held      time.Time `json:"held,omitzero"`       // until when it takes a slot; zero: as long as it lives
	Releasing bool      `json:"releasing,omitempty"` // no run may start any more
	Links     []Link    `json:"links,omitempty"`
	Rewrites  []Rewrite `json:"rewrites,omitempty"`
	Tmp       string    `json:"tmp,omitempty"`   // TMPDIR of runs; "": the folder in the lease
	Group     string    `json:"group,omitempty"` // control group of runs, see proc.Spec
	// Key is the SHA-256 of the key of who made the lease (wire.Hello); none: it is anybody's.
	Key []byte `json:"key,omitempty"`
}

// Of tells whether the lease belongs to who has that key.
func (l Lease) Of(key []byte) bool {
	return len(l.Key) == 0 || subtle.ConstantTimeCompare(l.Key, HashKey(key)) == 1
}

// HashKey is what is kept of a key; nothing of none.
func HashKey(key []byte) []byte {
	if len(key) == 0 {
		return nil
	}
	sum := sha256.Sum256(key)
	return sum[:]
}

// A Link is an absolute path that leads into the lease. It is recorded before
// it is made, so that what a crash leaves is known to be ours.
type Link struct {
	Path   string // as asked for
	Place  string // where the link is, which on macOS is elsewhere
	Target string
	Made   []string // parent folders made for it, outermost first
}

// A Rewrite is an absolute path that could not be made: it is rewritten in
// what runs execute.
type Rewrite struct {
	From string
	To   string
}

// A Left is something that a lease left behind at a path and that the agent may not, or could not, remove.
type Left struct {
	Path string
	Why  string
}

// String says it in a line.
func (l Left) String() string { return l.Path + ": " + l.Why }

// ReadLeft returns what leases left on the machine.
func (r Root) ReadLeft() ([]Left, error) {
	var left []Left
	err := read(r.left(), &left)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	return left, err
}

// WriteLeft writes that down for good.
func (r Root) WriteLeft(left []Left) error {
	if len(left) > 0 {
		return write(r.left(), left, true)
	}
	return Fault("record", os.RemoveAll(r.left()))
}

func (r Root) left() string { return filepath.Join(string(r), "left.json") }

// A RunState is how far a run is.
type RunState string

// The states of a run. A run whose daemon died is Lost once somebody has
// killed what was left of it.
const (
	Starting RunState = "starting"
	Running  RunState = "running"
	Ended    RunState = "ended"
	Lost     RunState = "lost"
	// Unreadable is a run whose record makes no sense, as after a power cut. It is never written.
	Unreadable RunState = "unreadable"
)

// A Run is the content of run.json.
type Run struct {
	ID     string        `json:"id"`
	Lease  string        `json:"lease"`
	State  RunState      `json:"state"`
	Tree   proc.Identity `json:"tree"`   // PID 0 while it starts
	Daemon proc.Identity `json:"daemon"` // who looks after it
}

// Live tells whether there may be processes of the run.
func (r Run) Live() bool { return r.State == Starting || r.State == Running || r.State == Unreadable }

// Marker is the mark of a run's processes, unique on the machine: names of
// leases and runs have no dot.
func Marker(lease, run string) string { return lease + "." + run }

// Read reads the lease's record. One that is not there is [os.ErrNotExist], and one of another
// lease is none.
func (d LeaseDir) Read() (Lease, error) {
	var l Lease
	name := filepath.Join(string(d), "lease.json")
	err := reopened(func() error { return read(name, &l) }, append(d.own(), name)...)
	if err == nil && l.Name != filepath.Base(string(d)) {
		err = fault.New(fault.RemoteFile, "%s: is of lease %q, want %q", name, l.Name, filepath.Base(string(d)))
	}
	return l, err
}

// Write writes the lease's record for good.
func (d LeaseDir) Write(l Lease) error {
	return reopened(func() error { return write(filepath.Join(string(d), "lease.json"), l, true) }, d.own()...)
}

// Read reads the run's record. One that is not there is [os.ErrNotExist].
func (d RunDir) Read() (Run, error) {
	var r Run
	name := filepath.Join(string(d), "run.json")
	err := reopened(func() error { return read(name, &r) }, append(d.Lease().own(), string(d), name)...)
	return r, err
}

// Write writes the run's record. It is not forced to the disk: with the
// machine, its processes end too.
func (d RunDir) Write(r Run) error {
	return reopened(func() error { return write(filepath.Join(string(d), "run.json"), r, false) }, append(d.Lease().own(), string(d))...)
}

// List returns the lease's runs that have a record. One whose record cannot be read is
// Unreadable, so that it can still be ended: all its processes have its mark.
func (d LeaseDir) List() ([]Run, error) {
	var names []os.DirEntry
	err := reopened(func() (err error) { names, err = os.ReadDir(d.Runs()); return err }, d.own()...)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, Fault("runs", err)
	}
	var runs []Run
	for _, n := range names {
		dir, err := d.Run(n.Name())
		if err != nil {
			continue // not made by us
		}
		r, err := dir.Read()
		if errors.Is(err, os.ErrNotExist) {
			continue // just being made, or removed
		}
		if err != nil {
			lease := filepath.Base(string(d))
			r = Run{ID: n.Name(), Lease: lease, State: Unreadable, Tree: proc.Identity{ID: Marker(lease, n.Name())}}
		}
		runs = append(runs, r)
	}
	return runs, nil
}

// maxRecord bounds what is read of a record: a lease with very many links is
// a few kilobytes.
const maxRecord = 1 << 20

func read(name string, v any) error {
	info, err := os.Lstat(name)
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fault.New(fault.RemoteFile, "%s: is no file (mode %s)", name, info.Mode())
	}
	if info.Size() > maxRecord {
		return fault.New(fault.RemoteFile, "%s: %d bytes, want at most %d", name, info.Size(), maxRecord)
	}
	b, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(b, v); err != nil {
		return fault.New(fault.RemoteFile, "%s: %w", name, err)
	}
	return nil
}

// write writes aside and renames, so a reader sees all or nothing.
func write(name string, v any, sync bool) error {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return fault.New(fault.Internal, "%s: %w", name, err)
	}
	f, err := os.CreateTemp(filepath.Dir(name), ".tmp-*")
	if err != nil {
		return Fault("record", err)
	}
	_, err = f.Write(append(b, '\n'))
	if err == nil && sync {
		err = f.Sync()
	}
	err = errors.Join(err, f.Close())
	if err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		return Fault("record", errors.Join(err, os.Remove(f.Name())))
	}
	return nil
}
