package relay

import (
	"testing"
	"time"

	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/wire"
)

func TestALeaseThatWasMadeAnewIsNotOurs(t *testing.T) {
	made := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	var until time.Time
	r := &relay{job: Job{Lease: Lease{Name: "box", Renewed: func(u time.Time) { until = u }}}}
	for _, expires := range []time.Time{made.Add(time.Hour), made.Add(2 * time.Hour)} {
		if err := r.setLease(wire.Lease{Name: "box", Created: made, Expires: expires, Work: "/w"}); err != nil {
			t.Fatal(err)
		}
		if !until.Equal(expires) || r.result.Work != "/w" {
			t.Errorf("until %s, want %s", until, expires)
		}
	}
	if err := r.setLease(wire.Lease{Name: "box", Created: made.Add(time.Minute)}); !fault.Is(err, fault.RunLost) {
		t.Errorf("another one: %v, want RunLost", err)
	}
	known := &relay{job: Job{Lease: Lease{Name: "box", Known: made}}}
	if err := known.setLease(wire.Lease{Name: "box", Created: made.Add(time.Minute)}); !fault.Is(err, fault.RunLost) {
		t.Errorf("one that is known from before: %v, want RunLost", err)
	}
}

func TestARenewalSaysHowLong(t *testing.T) {
	now := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	r := &relay{job: Job{Lease: Lease{TTL: 24 * time.Hour, Hold: 15 * time.Minute}, Now: func() time.Time { return now }}}
	if got := r.renewal(); !got.Expires.Equal(now.Add(24*time.Hour)) || !got.Held.Equal(now.Add(15*time.Minute)) {
		t.Errorf("%+v", got)
	}
	r.job.Lease.Hold = 0
	if got := r.renewal(); !got.Held.IsZero() {
		t.Errorf("held until %s, want as long as it lives", got.Held)
	}
}

func TestALeaseWhoseTimeIsOverBreaksNothing(t *testing.T) {
	for _, ttl := range []time.Duration{-time.Hour, 0, 1} {
		r := &relay{job: Job{Lease: Lease{Name: "box", TTL: ttl}}}
		r.keepLease(t.Context())() // it panicked
	}
	if _, err := Do(t.Context(), nil, Job{Lease: Lease{Name: "box", TTL: -time.Minute}}, nil); !fault.Is(err, fault.Internal) {
		t.Errorf("got %v, want a fault of kind Internal", err)
	}
}
