package manager

import (
	"log/slog"

	"outrigger.dev/outrigger/internal/control/ready"
	"outrigger.dev/outrigger/internal/reach"
	"outrigger.dev/outrigger/internal/reach/deliver"
)

// readier is what makes machines ready over SSH, and images of them.
func readier(agents deliver.Source, log *slog.Logger) *ready.Readier {
	return ready.New(agents, reach.Options{}, log)
}
