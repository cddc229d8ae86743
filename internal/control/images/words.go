package images

import (
	corev1 "k8s.io/api/core/v1"

	"outrigger.dev/outrigger/api/v1alpha1"
	"outrigger.dev/outrigger/internal/sanitize"
)

const (
	normal  = corev1.EventTypeNormal
	warning = corev1.EventTypeWarning
)

// noteMost is what an event's note may hold (events.k8s.io/v1, Event.note).
const noteMost = 1024

func (r *reconciler) event(i *v1alpha1.MachineImage, kind, reason, note string) {
	r.events.Eventf(i, nil, kind, reason, reason, "%s", sanitize.Text(note, noteMost))
}

// clip keeps a message within what is read. A part of it may be the words of a script or a provider.
func clip(message string) string {
	const most = 2000
	return sanitize.Text(message, most)
}
