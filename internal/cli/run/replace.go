package run

import (
	"context"
	"errors"
	"fmt"

	"outrigger.dev/outrigger/internal/claim"
	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/ledger"
	"outrigger.dev/outrigger/internal/workspace"
)

// replace gives up the machines of earlier runs of this folder that are kept only for paths that cannot be
// read there. A test that leaves a file of mode 000 does so in each run: the machine of the last one is
// enough for a look at it, and one for each run would soon be more than there is room for.
func (m *memory) replace(ctx context.Context, by ledger.Run) error {
	l, err := m.app.Ledger()
	if err != nil {
		return err
	}
	recs, err := l.Runs()
	errs := []error{err}
	for _, rec := range recs {
		same := rec.Dir == by.Dir && rec.At == by.At && rec.Provider == by.Provider
		if same && rec.ID != by.ID && rec.Unread && !rec.Lasting && !rec.Keep {
			errs = append(errs, m.giveUp(ctx, l, rec.ID))
		}
	}
	return errors.Join(errs...)
}

// giveUp deletes the machine of a run that nobody attends or fetches, and what is remembered of it.
func (m *memory) giveUp(ctx context.Context, l *ledger.Ledger, id string) error {
	entry, err := l.HoldRun(id)
	switch fault.Of(err) {
	case "":
	case fault.Busy, fault.UnknownRun:
		return nil //nolint:nilerr // somebody fetches it, or has
	default:
		return err
	}
	rec := entry.Record()
	_, prov, err := m.app.Provider(ctx, rec.Provider)
	if err != nil {
		return errors.Join(err, entry.Release())
	}
	old, err := claim.Retake(ctx, l, prov, rec.Machine)
	if err != nil || old.Borrowed() {
		if err == nil { // somebody looks at it
			err = old.Release(ctx)
		}
		return errors.Join(err, entry.Release())
	}
	if err := errors.Join(entry.Remove(), old.Release(ctx)); err != nil {
		return err
	}
	m.app.Warn(fmt.Sprintf("machine %s is deleted: it was kept for what could not be read on it after an earlier run of this folder, "+
		"and this run's is kept now", rec.Machine))
	dirs, err := m.app.Dirs()
	if err != nil {
		return err
	}
	w, err := workspace.Open(ctx, dirs.State, rec.Machine, string(rec.Dir), string(rec.At))
	if err != nil {
		return err
	}
	return w.Forget()
}
