package gc

import (
	"errors"
	"fmt"

	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/ledger"
)

// runs lists the runs whose results are kept on their machines, and forgets those whose time is over
// or whose machine is gone. Machines are looked at before.
func (s *sweeper) runs(l *ledger.Ledger) error {
	recs, err := l.Runs()
	errs := []error{err}
	for _, rec := range recs {
		errs = append(errs, s.run(l, rec.ID))
	}
	return errors.Join(errs...)
}

func (s *sweeper) run(l *ledger.Ledger, id string) error {
	entry, err := l.HoldRun(id)
	switch fault.Of(err) {
	case "":
	case fault.Busy, fault.UnknownRun:
		return nil //nolint:nilerr // its client lives, or it was fetched since the list was read
	default:
		return err
	}
	rec := entry.Record()
	item := Item{Kind: kindRun, Name: rec.ID, Provider: rec.Provider, DryRun: s.dryRun}
	_, err = l.Get(rec.Machine)
	switch {
	case rec.Over(s.app.IO.Now()):
		item.Why = "its time is over"
	case fault.Is(err, fault.UnknownMachine):
		item.Why = "its machine is gone"
	case err != nil:
		return errors.Join(err, entry.Release())
	default:
		item.Kept, item.Until = true, &rec.Until
		item.Why = fmt.Sprintf("its results are not all here: outrigger fetch %s", rec.ID)
		s.items = append(s.items, item)
		return entry.Release()
	}
	s.items = append(s.items, item)
	if s.dryRun {
		return entry.Release()
	}
	return entry.Remove()
}
