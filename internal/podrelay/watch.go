package podrelay

import (
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"outrigger.dev/outrigger/internal/relay"
	"outrigger.dev/outrigger/internal/worksync/transfer"
)

// A watcher tells the container's log what went wrong, and nothing else.
type watcher struct {
	Container
	log  *slog.Logger
	lost *atomic.Bool // it was told that the connection is lost, and not yet that it is back
}

func (c Container) watcher(log *slog.Logger) watcher { return watcher{c, log, new(atomic.Bool)} }

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

// Lost implements [relay.Watcher]. The run and each view have a connection of their own, and all are
// lost at once: one line is enough.
func (w watcher) Lost(cause error, limit time.Duration) {
	if w.lost.Swap(true) {
		w.log.Debug("another connection is lost", "cause", cause)
		return
	}
	w.say(fmt.Sprintf("the connection to the machine is lost (%v); what runs there goes on, trying again for %s", cause, limit))
}

// Back implements [relay.Watcher]. What became of the run meanwhile is not known yet.
func (w watcher) Back() {
	if w.lost.Swap(false) {
		w.say("the connection to the machine is back")
	}
}
