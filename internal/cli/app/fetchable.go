package app

import (
	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/ledger"
)

// Fetchable are the runs that have results on a machine that may be nowhere else: nobody attends them, the
// machine is known, and the time for which it keeps them is not over.
func (a *App) Fetchable() ([]ledger.Run, error) {
	l, err := a.Ledger()
	if err != nil {
		return nil, err
	}
	recs, err := l.Runs()
	if err != nil {
		return nil, err
	}
	var items []ledger.Run
	for _, rec := range recs {
		entry, err := l.HoldRun(rec.ID)
		switch fault.Of(err) {
		case "":
			if err := entry.Release(); err != nil {
				return nil, err
			}
		case fault.Busy, fault.UnknownRun:
			continue
		default:
			return nil, err
		}
		if _, err := l.Get(rec.Machine); err == nil && !rec.Over(a.IO.Now()) {
			items = append(items, rec)
		}
	}
	return items, nil
}
