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
	mu     sync.Mutex
	pools  map[types.UID]*poolStats
	checks map[types.UID]time.Time
}

type poolStats struct {
	start, lease time.Duration // moving averages; 0: unknown
	failures     int
	until        time.Time
	kind         fault.Kind // of the last failure; "": creation works
	since        time.Time  // since when failures are of that kind
	trouble      string
	tokenEnd     time.Time // of the provider's token; zero: unknown
}

func newStats() *stats {
	return &stats{pools: map[types.UID]*poolStats{}, checks: map[types.UID]time.Time{}}
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
	if c := meta.FindStatusCondition(p.Status.Conditions, v1alpha1.PoolProviderHealthy); c != nil && c.Status == status(false) {
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
	now := time.Now()
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

// checkDue is how long it is until the machine's next health check.
func (s *stats) checkDue(m *v1alpha1.Machine, idle time.Time, every time.Duration) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	last := s.checks[m.UID]
	if idle.After(last) {
		last = idle
	}
	return time.Until(last.Add(every))
}

func (s *stats) checked(m *v1alpha1.Machine) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.checks[m.UID] = time.Now()
}

func (s *stats) forget(m *v1alpha1.Machine) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.checks, m.UID)
}

func (s *stats) forgetPool(p *v1alpha1.MachinePool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.pools, p.UID)
}
