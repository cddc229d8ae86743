package pools

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"outrigger.dev/outrigger/api/v1alpha1"
)

// meters are the metrics of docs/reference/metrics.md. The registry is the process's,
// which is controller-runtime's choice: so they exist once.
type meters struct {
	machines       *prometheus.GaugeVec
	queued         *prometheus.GaugeVec
	unhealthy      *prometheus.GaugeVec
	held           *prometheus.GaugeVec
	tokenEnds      *prometheus.GaugeVec
	wait           *prometheus.HistogramVec
	start          *prometheus.HistogramVec
	lease          *prometheus.HistogramVec
	createFailures *prometheus.CounterVec
	deleteFailures *prometheus.CounterVec
	failures       *prometheus.CounterVec
	discards       *prometheus.CounterVec
	orphans        *prometheus.CounterVec
}

// Buckets from what warm machines give to what people give up over.
var (
	waitBuckets  = []float64{.005, .01, .025, .05, .1, .25, .5, 1, 5, 15, 60, 300, 900, 3600, 4 * 3600}
	startBuckets = []float64{.5, 1, 2, 5, 10, 20, 40, 60, 120, 300, 600, 1200}
	leaseBuckets = []float64{1, 5, 15, 60, 300, 900, 1800, 3600, 2 * 3600, 6 * 3600, 24 * 3600}
)

var newMeters = sync.OnceValue(func() *meters {
	gauge := func(name, help string, labels ...string) *prometheus.GaugeVec {
		return prometheus.NewGaugeVec(prometheus.GaugeOpts{Namespace: "outrigger", Name: name, Help: help}, append([]string{"pool"}, labels...))
	}
	count := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "outrigger", Name: name, Help: help}, append([]string{"pool"}, labels...))
	}
	histogram := func(name, help string, buckets []float64) *prometheus.HistogramVec {
		return prometheus.NewHistogramVec(prometheus.HistogramOpts{Namespace: "outrigger", Name: name, Help: help, Buckets: buckets}, []string{"pool"})
	}
	m := &meters{
		machines:       gauge("machines", "Machines by phase.", "phase"),
		queued:         gauge("claims_queued", "Claims that wait for a machine."),
		unhealthy:      gauge("machines_unhealthy", "Machines that looked ill when they were last looked at."),
		held:           gauge("replacement_stopped", "1 while machines that look ill are not replaced, since too many do."),
		tokenEnds:      gauge("provider_token_expires_seconds", "When the token of the pool's provider ends, in seconds since 1970."),
		wait:           histogram("claim_wait_seconds", "Time from a claim's creation until a machine was bound to it.", waitBuckets),
		start:          histogram("machine_start_seconds", "Time from the order of a machine until it was idle for the first time.", startBuckets),
		lease:          histogram("machine_lease_seconds", "Time that claims held a machine.", leaseBuckets),
		createFailures: count("create_failures_total", "Calls to make a machine that failed, by kind of fault.", "reason"),
		deleteFailures: count("delete_failures_total", "Calls to delete a machine that failed, by kind of fault.", "reason"),
		failures:       count("machine_failures_total", "Machines given up, by kind of fault.", "reason"),
		discards:       count("machines_discarded_total", "Idle machines deleted, by reason.", "reason"),
		orphans:        count("orphans_deleted_total", "Machines found at the provider that no object was about."),
	}
	metrics.Registry.MustRegister(m.machines, m.queued, m.unhealthy, m.held, m.tokenEnds, m.wait, m.start, m.lease,
		m.createFailures, m.deleteFailures, m.failures, m.discards, m.orphans)
	return m
})

func (m *meters) bound(pool string, wait time.Duration) {
	m.wait.WithLabelValues(pool).Observe(wait.Seconds())
}
func (m *meters) started(pool string, d time.Duration) {
	m.start.WithLabelValues(pool).Observe(d.Seconds())
}
func (m *meters) leased(pool string, d time.Duration) {
	m.lease.WithLabelValues(pool).Observe(d.Seconds())
}
func (m *meters) createFailed(pool, reason string) {
	m.createFailures.WithLabelValues(pool, reason).Inc()
}
func (m *meters) deleteFailed(pool, reason string) {
	m.deleteFailures.WithLabelValues(pool, reason).Inc()
}
func (m *meters) failed(pool, reason string) { m.failures.WithLabelValues(pool, reason).Inc() }
func (m *meters) discarded(pool, why string) { m.discards.WithLabelValues(pool, why).Inc() }
func (m *meters) orphaned(pool string)       { m.orphans.WithLabelValues(pool).Inc() }

// health sets how many of a pool's machines look ill, and whether they are replaced.
func (m *meters) health(pool string, ill int, held bool) {
	m.unhealthy.WithLabelValues(pool).Set(float64(ill))
	stopped := 0.0
	if held {
		stopped = 1
	}
	m.held.WithLabelValues(pool).Set(stopped)
}

// token sets when a pool's token ends.
func (m *meters) token(pool string, end time.Time) {
	if end.IsZero() {
		m.tokenEnds.DeleteLabelValues(pool)
		return
	}
	m.tokenEnds.WithLabelValues(pool).Set(float64(end.Unix()))
}

// counts sets the gauges of a pool.
func (m *meters) counts(pool string, machines []*v1alpha1.Machine, queued int) {
	byPhase := map[v1alpha1.MachinePhase]int{}
	for _, x := range machines {
		byPhase[phaseOf(x)]++
	}
	for phase := range phases {
		m.machines.WithLabelValues(pool, string(phase)).Set(float64(byPhase[phase]))
	}
	m.queued.WithLabelValues(pool).Set(float64(queued))
}

// forget removes the gauges of a pool that is gone.
func (m *meters) forget(pool string) {
	for _, gauge := range []*prometheus.GaugeVec{m.machines, m.queued, m.unhealthy, m.held, m.tokenEnds} {
		gauge.DeletePartialMatch(prometheus.Labels{"pool": pool})
	}
}
