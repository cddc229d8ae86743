package images

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"outrigger.dev/outrigger/api/v1alpha1"
)

// meters are the metrics of docs/reference/metrics.md. The registry is the process's, which is
// controller-runtime's choice: so they exist once.
type meters struct {
	current  *prometheus.GaugeVec
	took     *prometheus.HistogramVec
	failures *prometheus.CounterVec
}

// Buckets from what a small script takes to what installing Xcode does.
var buildBuckets = []float64{10, 30, 60, 120, 300, 600, 1200, 1800, 3600, 2 * 3600, 4 * 3600}

var newMeters = sync.OnceValue(func() *meters {
	m := &meters{
		current: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Namespace: "outrigger", Name: "image_current", Help: "Whether the image in use is the one that is asked for: 1 or 0.",
		}, []string{"image"}),
		took: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: "outrigger", Name: "image_build_seconds", Help: "Time from the order of a build until its image was there.", Buckets: buildBuckets,
		}, []string{"image"}),
		failures: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: "outrigger", Name: "image_build_failures_total", Help: "Builds that failed, by reason.",
		}, []string{"image", "reason"}),
	}
	metrics.Registry.MustRegister(m.current, m.took, m.failures)
	return m
})

// state sets whether an image is what is asked for.
func (m *meters) state(i *v1alpha1.MachineImage) {
	value := 0.
	if meta.IsStatusConditionTrue(i.Status.Conditions, v1alpha1.ImageBuilt) {
		value = 1
	}
	m.current.WithLabelValues(i.Name).Set(value)
}

func (m *meters) built(image string, took time.Duration) {
	m.took.WithLabelValues(image).Observe(took.Seconds())
}

func (m *meters) failed(image, reason string) { m.failures.WithLabelValues(image, reason).Inc() }

// forget removes the gauge of an image that is gone.
func (m *meters) forget(image string) { m.current.DeleteLabelValues(image) }
