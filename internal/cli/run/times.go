package run

import (
	"time"

	"outrigger.dev/outrigger/internal/ledger"
)

const (
	// leaseSlack is how much longer than the permitted absence a lease holds the
	// machine: a client that comes back at the last moment still finds it.
	leaseSlack = 5 * time.Minute
	// keepFor is how long a machine lives that --keep leaves behind.
	keepFor = 24 * time.Hour
	// stayFor is how long a machine without an end keeps a folder that no run uses.
	stayFor = 30 * 24 * time.Hour
)

// afterwards is how long the machine may be wanted after the run.
func (p *prepared) afterwards() time.Duration {
	if p.Keep {
		return max(p.retain, keepFor)
	}
	return p.retain
}

// machineEnd is when anybody may delete the machine that is made for this run.
func (p *prepared) machineEnd(now time.Time) time.Time {
	return now.Add(max(p.expires, p.Timeout+time.Hour) + p.afterwards())
}

// leaseTimes are how long after we were last heard the folder on the machine stays, which is as long
// as its results may be wanted, or until the end of a machine that stays; and how long it takes one
// of the machine's slots, which is only while we may come back (0: as long as it stays).
func (p *prepared) leaseTimes(rec ledger.Record, stays bool, now time.Time) (ttl, hold time.Duration) {
	if stays {
		return untilEnd(rec, now), 0
	}
	hold = p.Absence + leaseSlack
	return p.afterwards() + hold, hold
}

// untilEnd is how long a machine that was made to stay does.
func untilEnd(rec ledger.Record, now time.Time) time.Duration {
	if rec.Expires.IsZero() {
		return stayFor
	}
	return max(rec.Expires.Sub(now), 0) + leaseSlack
}

// FetchTimes are those of [leaseTimes] while somebody fetches the results of a run on the machine.
func FetchTimes(run ledger.Run, rec ledger.Record, absence time.Duration, now time.Time) (ttl, hold time.Duration) {
	if run.Lasting {
		return untilEnd(rec, now), 0
	}
	hold = absence + leaseSlack
	return max(run.Until.Sub(now), 0) + hold, hold
}
