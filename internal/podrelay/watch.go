package podrelay

import (
	"fmt"
	"log/slog"
	"time"

	"outrigger.dev/outrigger/internal/relay"
	"outrigger.dev/outrigger/internal/worksync/transfer"
)

// A watcher tells the container's log what went wrong, and nothing else.
type watcher struct {
	Container
	log *slog.Logger
}

var _ relay.Watcher = watcher{}

// Begin implements [relay.Watcher].
func (w watcher) Begin(part relay.Part) { w.log.Debug("begin", "part", part) }

// Progress implements [relay.Watcher].
func (w watcher) Progress(transfer.Progress) {}

// Synced implements [relay.Watcher].
func (w watcher) Synced(part relay.Part, r transfer.Report) {
	w.log.Debug("synced", "part", part, "files", r.Files, "deleted", r.Deleted, "bytes", r.Bytes, "took", r.Duration)
	for _, text := range r.Warnings {
		w.Warn(text)
	}
}

// Ended implements [relay.Watcher].
func (w watcher) Ended() { w.log.Debug("command ended") }

// Warn implements [relay.Watcher].
func (w watcher) Warn(text string) { w.say(text) }

// Lost implements [relay.Watcher].
func (w watcher) Lost(cause error, limit time.Duration) {
	w.say(fmt.Sprintf("the connection to the machine is lost (%v); what runs there goes on, trying again for %s", cause, limit))
}

// Back implements [relay.Watcher].
func (w watcher) Back() { w.say("the connection to the machine is back, nothing was lost") }
