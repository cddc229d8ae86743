package gc

import (
	"context"
	"errors"
	"time"

	"outrigger.dev/outrigger/internal/cli/app"
	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/ledger"
	"outrigger.dev/outrigger/internal/machine"
	"outrigger.dev/outrigger/internal/provider"
)

const (
	// callLimit bounds one call of a provider: a guess, the time that deleting
	// a machine takes at the slowest one here, several times over.
	callLimit = time.Minute
	// leaseLimit bounds a look at one machine that stays.
	leaseLimit = 30 * time.Second
	// expirySlack is how long after its time another installation's machine is left
	// alone: its clock may be another.
	expirySlack = 5 * time.Minute
)

// A sweeper goes over what this installation asked for and what providers have.
//
// Whoever deletes a machine holds its name in the ledger, and so does whoever
// makes one or uses it. That makes every look below safe at any time: a machine
// that is listed and whose name can be taken is nobody's, however young it is.
type sweeper struct {
	app     *app.App
	dryRun  bool
	expired bool // also other installations' machines whose time is over
	items   []Item
}

func (s *sweeper) sweep(ctx context.Context) error {
	l, err := s.app.Ledger()
	if err != nil {
		return err
	}
	cfg, err := s.app.Config()
	if err != nil {
		return err
	}
	errs := []error{l.Tidy()}
	recs, err := l.List()
	errs = append(errs, err)
	for _, rec := range recs {
		errs = append(errs, s.record(ctx, l, rec))
	}
	for _, name := range cfg.Names() {
		errs = append(errs, s.orphans(ctx, l, name))
	}
	errs = append(errs, s.runs(l), s.leases(ctx, l), s.workspaces(ctx, l))
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return errors.Join(errs...)
}

// over tells whether the record's machine should go, if nobody uses it.
func (s *sweeper) over(l *ledger.Ledger, rec ledger.Record) (why string, ok bool, err error) {
	now := s.app.IO.Now()
	switch {
	case rec.Expired(now):
		return "its time is over", true, nil
	case rec.Keep:
		return "", false, nil
	}
	_, wanted, err := l.Wanted(rec.Name, now)
	return "its client is gone", !wanted, err
}

// record deletes the machine of a record that nobody holds.
func (s *sweeper) record(ctx context.Context, l *ledger.Ledger, rec ledger.Record) error {
	if ctx.Err() != nil {
		return nil // told once, at the end
	}
	if _, ok, err := s.over(l, rec); err != nil || !ok && !s.gone(ctx, rec) {
		return err
	}
	entry, err := l.Hold(rec.Name, false)
	switch fault.Of(err) {
	case "":
	case fault.Busy, fault.UnknownMachine:
		return nil //nolint:nilerr // in use, or given back since the list was read
	default:
		return err
	}
	rec = entry.Record()
	why, ok, err := s.over(l, rec) // again: it may have been kept meanwhile
	if err == nil && !ok && s.gone(ctx, rec) {
		why, ok = "it does not exist any more", true
	}
	if err != nil || !ok {
		return errors.Join(err, entry.Release())
	}
	_, p, err := s.app.Provider(ctx, rec.Provider)
	if err != nil {
		return errors.Join(lost(rec, err), entry.Release())
	}
	return s.remove(ctx, entry, p, why)
}

// gone tells whether the provider does not know the machine of a record that
// stays. Only its clear word counts.
func (s *sweeper) gone(ctx context.Context, rec ledger.Record) bool {
	_, p, err := s.app.Provider(ctx, rec.Provider)
	if err != nil {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, callLimit)
	defer cancel()
	_, err = p.Get(ctx, rec.Name)
	return fault.Is(err, fault.UnknownMachine)
}

// lost says what to do about a machine whose provider cannot be asked.
func lost(rec ledger.Record, err error) error {
	f := app.AtMachine(rec.Name, err)
	if fault.Is(err, fault.UnknownProvider) {
		f = f.WithRemedy("Configure provider %s again, so that its machine can be deleted.", rec.Provider)
	}
	return f
}

// remove deletes the machine, then its record.
func (s *sweeper) remove(ctx context.Context, entry *ledger.Entry, p provider.Provider, why string) error {
	rec := entry.Record()
	item := Item{Kind: kindMachine, Name: string(rec.Name), Provider: rec.Provider, Why: why, DryRun: s.dryRun}
	if s.dryRun {
		s.items = append(s.items, item)
		return entry.Release()
	}
	ctx, cancel := context.WithTimeout(ctx, callLimit)
	defer cancel()
	if err := p.Delete(ctx, rec.Name); err != nil {
		return errors.Join(app.AtMachine(rec.Name, err), entry.Release())
	}
	s.items = append(s.items, item)
	return entry.Remove()
}

// orphans deletes machines of this installation that the ledger does not know:
// its folder was lost, or somebody removed a record by hand. Of other installations,
// if that is wanted, those whose time is over.
func (s *sweeper) orphans(ctx context.Context, l *ledger.Ledger, name string) error {
	owner, err := l.Owner()
	if err != nil || ctx.Err() != nil {
		return err
	}
	_, p, err := s.app.Provider(ctx, name)
	if err != nil {
		return app.At(name, err)
	}
	whose := owner
	if s.expired {
		whose = ""
	}
	machines, err := s.list(ctx, p, whose)
	errs := []error{err}
	if err != nil {
		errs[0] = app.At(name, err) // what was listed all the same is still looked at
	}
	for _, m := range machines {
		switch {
		case m.Owner == owner:
			errs = append(errs, s.orphan(ctx, l, p, name, m, "nobody remembers it"))
		case !m.Expires.IsZero() && s.app.IO.Now().After(m.Expires.Add(expirySlack)):
			errs = append(errs, s.orphan(ctx, l, p, name, m, "its time is over"))
		}
	}
	return errors.Join(errs...)
}

func (s *sweeper) list(ctx context.Context, p provider.Provider, owner machine.Owner) ([]machine.Machine, error) {
	ctx, cancel := context.WithTimeout(ctx, callLimit)
	defer cancel()
	return p.List(ctx, owner)
}

func (s *sweeper) orphan(ctx context.Context, l *ledger.Ledger, p provider.Provider, on string, m machine.Machine, why string) error {
	if _, err := l.Get(m.Name); !fault.Is(err, fault.UnknownMachine) {
		return nil // known, or the ledger's own trouble, which was told above
	}
	if s.dryRun {
		s.items = append(s.items, Item{Kind: kindMachine, Name: string(m.Name), Provider: on, Why: why, DryRun: true})
		return nil
	}
	// Taking the name keeps everybody else from making a machine of that name
	// while this one is deleted; if we are killed, the record tells the next sweep.
	entry, err := l.Add(ledger.Record{Name: m.Name, Provider: on, Owner: m.Owner, Created: m.Created, Image: m.Image})
	if fault.Is(err, fault.Busy) || fault.Is(err, fault.NameTaken) {
		return nil
	}
	if err != nil {
		return err
	}
	return s.remove(ctx, entry, p, why)
}
