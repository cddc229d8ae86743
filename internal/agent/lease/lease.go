// Package lease lends out a machine: each use of it gets a folder with an owner
// and an expiry, and giving it back leaves nothing.
//
// All there is to know is on disk, under one lock, so any number of agents may
// do this at once, and each may be killed at any moment. A release first
// writes down that it began: from then on no run starts in the lease, and a
// later sweep completes what an earlier release did not.
package lease

import (
	"context"
	"crypto/rand"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"sort"
	"strings"
	"time"

	"outrigger.dev/outrigger/internal/agent/disk"
	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/wire"
)

// groupLen is how long the random name of a lease's control group is.
const groupLen = 16

// A Store is the leases of one machine and user.
type Store struct {
	root disk.Root
	log  *slog.Logger
	// The caller, by his key. The agent itself is none, and sees every lease.
	caller bool
	key    []byte
	skew   time.Duration // how much the machine's clock is ahead of the caller's
}

// Open returns the store below root.
func Open(root disk.Root, log *slog.Logger) *Store { return &Store{root: root, log: log} }

// As returns the store as the caller with that key sees it: another's lease is to him as one that is not there.
func (s *Store) As(key []byte) *Store {
	return &Store{root: s.root, log: s.log, caller: true, key: key, skew: s.skew}
}

// owns tells whether the lease is the caller's.
func (s *Store) owns(rec disk.Lease) bool { return !s.caller || rec.Of(s.key) }

// Acquire makes a lease, or renews one of the same name and owner. Leases that
// expired are released first. Faults: NoCapacity, which names the holders;
// NameTaken; Busy while the lease is being released.
func (s *Store) Acquire(ctx context.Context, req wire.LeaseAcquire) (wire.Lease, error) {
	dir, err := s.root.Lease(req.Name)
	if err != nil {
		return wire.Lease{}, err
	}
	if err := s.releaseExpired(ctx); err != nil {
		s.log.Warn("release expired leases", "error", err)
	}
	unlock, err := s.root.Lock(ctx)
	if err != nil {
		return wire.Lease{}, err
	}
	defer unlock()
	now := time.Now()
	rec, err := dir.Read()
	switch {
	case err == nil && (rec.Owner != req.Owner || !s.owns(rec)):
		return wire.Lease{}, fault.New(fault.NameTaken, "lease %s: belongs to another owner", req.Name)
	case err == nil && rec.Releasing:
		return wire.Lease{}, fault.New(fault.Busy, "lease %s: is being released", req.Name)
	case err == nil:
		rec.Expires, rec.Held = clamp(s.here(req.Expires), now), s.here(req.Held)
		if len(rec.Key) == 0 {
			rec.Key = disk.HashKey(s.key) // it was made by a client that had none yet
		}
		return s.told(s.describe(dir, rec)), dir.Write(rec)
	case !errors.Is(err, fs.ErrNotExist):
		return wire.Lease{}, err
	}
	// Without a record it is no lease: what an interrupted removal left, or a stranger.
	if err := disk.RemoveAll(ctx, string(dir)); err != nil {
		return wire.Lease{}, err
	}
	if err := s.room(req.Slots); err != nil {
		return wire.Lease{}, err
	}
	tmp, err := s.root.MakeTmp()
	if err != nil {
		return wire.Lease{}, err
	}
	rec = disk.Lease{Name: req.Name, Owner: req.Owner, Note: req.Note, Created: now.UTC(), Expires: clamp(s.here(req.Expires), now), Tmp: tmp, Held: s.here(req.Held),
		Group: strings.ToLower(rand.Text()[:groupLen]), Key: disk.HashKey(s.key)}
	return s.told(s.describe(dir, rec)), s.create(ctx, dir, rec)
}

// OwnTmp tells whether the lease has a folder for temporary files outside of its own.
func (s *Store) OwnTmp(rec disk.Lease) bool { return s.root.IsTmp(rec.Tmp) }

// room is nil when another lease fits.
func (s *Store) room(slots int) error {
	if slots <= 0 {
		return nil
	}
	recs, broken, err := s.all()
	if err != nil {
		return err
	}
	now := time.Now()
	var held []disk.Lease
	for _, rec := range recs {
		if dir, err := s.root.Lease(rec.Name); err != nil || s.describe(dir, rec).Takes(now) {
			held = append(held, rec)
		}
	}
	for _, b := range broken {
		if b.runs() > 0 { // nobody can use it, but what runs in it takes its room
			held = append(held, disk.Lease{Name: b.name, Note: "its record cannot be read"})
		}
	}
	if len(held) < slots {
		return nil
	}
	var names, lines []string
	for _, l := range held {
		names = append(names, l.Name)
		line := l.Name + "  " + l.Note
		switch {
		case l.Expires.IsZero():
		case l.Held.IsZero():
			line += "  until " + s.there(l.Expires).Format(time.RFC3339)
		case now.Before(l.Held):
			line += "  while its client is there, at least until " + s.there(l.Held).Format(time.RFC3339)
		default:
			line += "  until its run has ended"
		}
		lines = append(lines, line)
	}
	return fault.New(fault.NoCapacity, "machine is full: %d of %d slots are held by %s", len(held), slots, strings.Join(names, ", ")).
		WithDetail(strings.Join(lines, "\n"))
}

// create makes the folder aside and renames it, so that one without a record
// is never seen.
func (s *Store) create(ctx context.Context, dir disk.LeaseDir, rec disk.Lease) error {
	aside, err := os.MkdirTemp(s.root.Leases(), ".new-")
	if err != nil {
		return disk.Fault("lease", err)
	}
	err = disk.LeaseDir(aside).Write(rec)
	for _, sub := range []string{"work", "sync", "runs", "tmp"} {
		if err == nil {
			err = os.Mkdir(filepath.Join(aside, sub), 0o700)
		}
	}
	if err == nil {
		s.reserve(disk.LeaseDir(aside))
		err = os.Rename(aside, string(dir))
	}
	if err != nil {
		err = errors.Join(err, disk.RemoveAll(ctx, aside))
		if rec.Tmp != "" {
			err = errors.Join(err, disk.RemoveAll(ctx, rec.Tmp))
		}
		return disk.Fault("lease", err)
	}
	return nil
}

// Renew moves a lease's expiry. A lease that is gone is a fault of kind RunLost.
func (s *Store) Renew(ctx context.Context, req wire.LeaseRenew) (wire.Lease, error) {
	var out wire.Lease
	update := func() error {
		return s.Update(ctx, req.Name, func(dir disk.LeaseDir, rec *disk.Lease) error {
			rec.Expires, rec.Held = clamp(s.here(req.Expires), time.Now()), s.here(req.Held)
			out = s.told(s.describe(dir, *rec))
			return nil
		})
	}
	err := update()
	if disk.IsFull(err) && s.Spend(req.Name) {
		err = update()
	}
	return out, err
}

// Update changes the record of a living lease while no other process can.
func (s *Store) Update(ctx context.Context, name string, change func(disk.LeaseDir, *disk.Lease) error) error {
	unlock, err := s.root.Lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	dir, rec, err := s.living(name)
	if err != nil {
		return err
	}
	before := rec
	before.Links, before.Rewrites = slices.Clone(rec.Links), slices.Clone(rec.Rewrites)
	if err := change(dir, &rec); err != nil {
		return err
	}
	if reflect.DeepEqual(before, rec) {
		return nil // forcing a record to the disk costs more than all else here
	}
	return dir.Write(rec)
}

// With calls use with a living lease, which nobody can begin to release meanwhile.
func (s *Store) With(ctx context.Context, name string, use func(disk.LeaseDir, disk.Lease) error) error {
	unlock, err := s.root.Lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	dir, rec, err := s.living(name)
	if err != nil {
		return err
	}
	return use(dir, rec)
}

// Mine tells whether a lease is not another caller's. One that is gone or being released is nobody else's
// business either: how its runs ended is still given out.
func (s *Store) Mine(name string) bool {
	dir, err := s.root.Lease(name)
	if err != nil {
		return false
	}
	rec, err := dir.Read()
	return err != nil || s.owns(rec)
}

// Living returns a lease that is not being released.
func (s *Store) Living(name string) (disk.LeaseDir, error) {
	dir, _, err := s.living(name)
	return dir, err
}

func (s *Store) living(name string) (disk.LeaseDir, disk.Lease, error) {
	dir, err := s.root.Lease(name)
	if err != nil {
		return "", disk.Lease{}, err
	}
	rec, err := dir.Read()
	if errors.Is(err, fs.ErrNotExist) || err == nil && (rec.Releasing || !s.owns(rec)) {
		return "", disk.Lease{}, fault.New(fault.RunLost, "lease %s: not on this machine any more: it was released or expired", name)
	}
	return dir, rec, err
}

// List returns the caller's leases by name, and those that are over. One whose record cannot be read is
// left out, and told in the log.
func (s *Store) List() (wire.LeaseList, error) {
	recs, _, err := s.all()
	if err != nil {
		return wire.LeaseList{}, err
	}
	var out wire.LeaseList
	for _, rec := range recs {
		if !s.owns(rec) && !over(rec, time.Now()) {
			out.Others++
			continue
		}
		dir, err := s.root.Lease(rec.Name)
		if err != nil {
			return out, err
		}
		out.Leases = append(out.Leases, s.told(s.describe(dir, rec)))
	}
	return out, nil
}

// over tells whether a lease is to be released by whoever sees it.
func over(rec disk.Lease, now time.Time) bool { return rec.Releasing || now.After(rec.Expires) }

// all returns the leases by name, and those whose record cannot be read: one of these must
// not keep everybody else from the machine.
func (s *Store) all() (recs []disk.Lease, broken []broken, err error) {
	entries, err := os.ReadDir(s.root.Leases())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, disk.Fault("leases", err)
	}
	for _, e := range entries {
		dir, err := s.root.Lease(e.Name())
		if err != nil {
			continue // the lock, or what is being made or removed
		}
		rec, err := dir.Read()
		if errors.Is(err, fs.ErrNotExist) {
			continue // removed since the listing, or no lease
		}
		if err != nil {
			s.log.Warn("lease whose record cannot be read", "lease", e.Name(), "error", err)
			broken = append(broken, newBroken(e.Name(), dir))
			continue
		}
		recs = append(recs, rec)
	}
	sort.Slice(recs, func(i, j int) bool { return recs[i].Name < recs[j].Name })
	return recs, broken, nil
}

func (s *Store) describe(dir disk.LeaseDir, rec disk.Lease) wire.Lease {
	work, err := dir.Work("")
	if err != nil {
		work = "" // cannot be: "" leads nowhere else
	}
	out := wire.Lease{Name: rec.Name, Owner: rec.Owner, Created: rec.Created, Expires: rec.Expires,
		Dir: string(dir), Work: work, Note: rec.Note, Releasing: rec.Releasing, Held: rec.Held}
	runs, err := dir.List()
	if err != nil {
		s.log.Warn("list runs", "lease", rec.Name, "error", err)
	}
	out.Runs = live(runs)
	return out
}

// live counts the runs that have not ended.
func live(runs []disk.Run) (n int) {
	for _, r := range runs {
		if r.Live() && r.State != disk.Unreadable {
			n++
		}
	}
	return n
}
