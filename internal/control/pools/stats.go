package pools

import (
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/types"

	"outrigger.dev/outrigger/api/v1alpha1"
	"outrigger.dev/outrigger/internal/fault"
)

// stats holds what was measured and what went wrong. It begins with what the
// pools' status says, where the herald writes it: a restart loses a second of it.
type stats struct {
	now func() time.Time
	// checks are of idle machines, over SSH; listed of those that are idle or leased, in the provider's list;
	// starting of those that are not prepared yet.
	checks, listed, starting *ledger

	mu      sync.Mutex
	pools   map[types.UID]*poolStats
	orphans map[string]time.Time // machines without an object: when each was first seen
}

type poolStats struct {
	start, lease time.Duration // moving averages; 0: unknown
	failures     int
	until        time.Time
	kind         fault.Kind // of the last failure; "": creation works
	since        time.Time  // since when failures are of that kind
	trouble      string
	tokenEnd     time.Time // of the provider's token; zero: unknown
	survey       error     // why the provider's list was not to be had when it was last asked for
}

func newStats() *stats {
	return &stats{
		now: time.Now, checks: newLedger(), listed: newLedger(), starting: newLedger(),
		pools: map[types.UID]*poolStats{}, orphans: map[string]time.Time{},
	}
}

// turn sets the clock.
func (s *stats) turn(now func() time.Time) {
	s.now, s.checks.now, s.listed.now, s.starting.now = now, now, now, now
}

// of returns the pool's stats, begun from its status. The caller holds mu.
func (s *stats) of(p *v1alpha1.MachinePool) *poolStats {
	x := s.pools[p.UID]
	if x != nil {
		return x
	}
	x = &poolStats{failures: int(p.Status.Failures)}
	if p.Status.BackoffUntil != nil {
		x.until = p.Status.BackoffUntil.Time
	}
	if c := meta.FindStatusCondition(p.Status.Conditions, v1alpha1.PoolProviderHealthy); c != nil && c.Status == status(false) && x.failures > 0 {
		x.kind, x.trouble, x.since = fault.Kind(c.Reason), c.Message, c.LastTransitionTime.Time
	}
	if c := meta.FindStatusCondition(p.Status.Conditions, v1alpha1.PoolCapacity); c != nil && c.Reason == string(fault.NoCapacity) {
		x.kind, x.trouble, x.since = fault.NoCapacity, c.Message, c.LastTransitionTime.Time
	}
	if d := p.Status.StartTime; d != nil {
		x.start = d.Duration
	}
	if d := p.Status.LeaseTime; d != nil {
		x.lease = d.Duration
	}
	s.pools[p.UID] = x
	return x
}

// weight is that of the latest value in a moving average: the last ten count
// for two thirds.
const weight = 10

func average(old, latest time.Duration) time.Duration {
	if old == 0 {
		return latest
	}
	return old + (latest-old)/weight
}

func (s *stats) started(p *v1alpha1.MachinePool, took time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	x := s.of(p)
	x.start = average(x.start, took)
}

func (s *stats) leased(p *v1alpha1.MachinePool, took time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	x := s.of(p)
	x.lease = average(x.lease, took)
}

func (s *stats) times(p *v1alpha1.MachinePool) (start, lease time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	x := s.of(p)
	return x.start, x.lease
}

// failed notes a failed creation, and tells whether it begins a new pause: of
// several that failed at the same time one counts.
func (s *stats) failed(p *v1alpha1.MachinePool, kind fault.Kind, words string, t Times) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	x := s.of(p)
	now := s.now()
	if x.kind != kind {
		x.since = now
	}
	x.kind, x.trouble = kind, words
	if kind == fault.NoCapacity { // nothing is wrong, so those who wait want to know for how long
		x.trouble += "; since " + x.since.UTC().Format(time.RFC3339)
	}
	if now.Before(x.until) {
		return false
	}
	x.failures++
	x.until = now.Add(backoff(x.failures, t))
	return true
}

// backoff is the pause after so many failures one after another.
func backoff(failures int, t Times) time.Duration {
	d := t.Backoff
	for range failures - 1 {
		if d *= 2; d >= t.BackoffMost {
			return t.BackoffMost
		}
	}
	return d
}

// created notes that creation works.
func (s *stats) created(p *v1alpha1.MachinePool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	x := s.of(p)
	x.failures, x.until, x.kind, x.trouble = 0, time.Time{}, "", ""
}

// trouble returns how creation stands: the words are the provider's own.
func (s *stats) trouble(p *v1alpha1.MachinePool) (failures int, until time.Time, words string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	x := s.of(p)
	return x.failures, x.until, x.trouble
}

// kind is that of the last failure, or "".
func (s *stats) kind(p *v1alpha1.MachinePool) fault.Kind {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.of(p).kind
}

// surveyed notes whether the provider's list was to be had.
func (s *stats) surveyed(p *v1alpha1.MachinePool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.of(p).survey = err
}

// surveyError is why it was not.
func (s *stats) surveyError(p *v1alpha1.MachinePool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.of(p).survey
}

// orphan tells since when a machine is known to be without an object.
func (s *stats) orphan(name string) time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, known := s.orphans[name]; !known {
		s.orphans[name] = s.now()
	}
	return s.orphans[name]
}

// noOrphan forgets a machine that is gone, or has an object after all.
func (s *stats) noOrphan(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.orphans, name)
}

// forget drops how a machine looked: it is given up, or on its way out.
func (s *stats) forget(m *v1alpha1.Machine) {
	for _, l := range []*ledger{s.checks, s.listed, s.starting} {
		l.forget(m.UID)
	}
}

// gone does so for a machine whose object is gone.
func (s *stats) gone(machine string) {
	for _, l := range []*ledger{s.checks, s.listed, s.starting} {
		l.gone(machine)
	}
}

func (s *stats) forgetPool(p *v1alpha1.MachinePool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.pools, p.UID)
}
