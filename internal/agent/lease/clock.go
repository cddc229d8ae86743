package lease

import (
	"time"

	"outrigger.dev/outrigger/internal/wire"
)

// maxLife bounds how far ahead an expiry may be, so that a client with a wrong
// clock cannot keep a machine for ever.
const maxLife = 30 * 24 * time.Hour

// noSkew is how much two clocks may seem to differ because a message takes its time.
const noSkew = time.Minute

// At returns the store for a caller whose clock says now: the times of leases are by his. Else a machine whose
// clock is days ahead takes his leases for over at once, and he takes those of one whose clock is behind for it.
func (s *Store) At(now time.Time) *Store {
	at := *s
	if at.skew = time.Since(now); now.IsZero() || at.skew.Abs() < noSkew {
		at.skew = 0
	}
	return &at
}

// here is a time of the caller's by the machine's clock.
func (s *Store) here(t time.Time) time.Time { return moved(t, s.skew) }

// there is a time of the machine's by the caller's clock.
func (s *Store) there(t time.Time) time.Time { return moved(t, -s.skew) }

// told is a lease as the caller hears of it. When it was made is its identity, and stays as it is.
func (s *Store) told(l wire.Lease) wire.Lease {
	l.Expires, l.Held = s.there(l.Expires), s.there(l.Held)
	return l
}

// moved leaves alone the zero time, which is none.
func moved(t time.Time, by time.Duration) time.Time {
	if t.IsZero() {
		return t
	}
	return t.Add(by)
}

func clamp(t, now time.Time) time.Time {
	if latest := now.Add(maxLife); t.After(latest) {
		return latest.UTC()
	}
	return t.UTC()
}
