package images

import (
	corev1 "k8s.io/api/core/v1"

	"outrigger.dev/outrigger/api/v1alpha1"
)

const (
	normal  = corev1.EventTypeNormal
	warning = corev1.EventTypeWarning
)

// noteMost is what an event's note may hold (events.k8s.io/v1, Event.note).
const noteMost = 1024

func (r *reconciler) event(i *v1alpha1.MachineImage, kind, reason, note string) {
	r.events.Eventf(i, nil, kind, reason, reason, "%s", note[:min(len(note), noteMost)])
}

// clip keeps a message within what is read.
func clip(message string) string {
	const most = 2000
	if len(message) > most {
		return message[:most] + "..."
	}
	return message
}
