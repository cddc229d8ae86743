package run

import (
	"fmt"
	"strings"
	"time"

	"outrigger.dev/outrigger/internal/cli/progress"
	"outrigger.dev/outrigger/internal/relay"
	"outrigger.dev/outrigger/internal/worksync/transfer"
)

// A watcher shows what a relay tells.
type watcher struct {
	r        progress.Reporter
	dir      string
	terminal *terminal
	lost     func(bool) // tells the watch over the machine's life whether there is no connection
}

var _ relay.Watcher = watcher{}

var phases = map[relay.Part]progress.Phase{relay.Up: progress.SyncUp, relay.Run: progress.Run, relay.Back: progress.SyncBack}

// Begin implements [relay.Watcher].
func (w watcher) Begin(part relay.Part) {
	subject := w.dir
	if part == relay.Run {
		subject = ""
	}
	w.r.Phase(phases[part], subject)
	if part == relay.Run {
		w.terminal.start()
	}
}

// Progress implements [relay.Watcher].
func (w watcher) Progress(p transfer.Progress) {
	w.r.Progress(progress.Amount{Files: p.Files, FilesTotal: p.TotalFiles, Bytes: p.Bytes, BytesTotal: p.TotalBytes})
}

// Synced implements [relay.Watcher].
func (w watcher) Synced(part relay.Part, r transfer.Report) {
	for _, text := range r.Warnings {
		w.r.Warn(text)
	}
	w.r.Event(progress.Event{
		Event: "synced", Phase: phases[part], Files: r.Files, Deleted: r.Deleted,
		Bytes: r.Bytes, WireBytes: r.Sent + r.Received, Seconds: r.Duration.Seconds(),
	})
	w.r.Done(summary(r))
}

func summary(r transfer.Report) string {
	var parts []string
	for _, p := range []struct {
		n    int64
		what string
	}{
		{r.Files, "files, " + progress.Bytes(r.Bytes)}, {r.Folders, "folders"}, {r.Links, "links"},
		{r.Touched, "touched"}, {r.Deleted, "deleted"},
	} {
		if p.n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", p.n, p.what))
		}
	}
	if len(parts) == 0 {
		return "nothing changed"
	}
	return strings.Join(parts, ", ")
}

// Ended implements [relay.Watcher].
func (w watcher) Ended() {
	w.terminal.end()
	w.r.Done("")
}

// Warn implements [relay.Watcher].
func (w watcher) Warn(text string) { w.r.Warn(text) }

// Lost implements [relay.Watcher].
func (w watcher) Lost(cause error, limit time.Duration) {
	w.lost(true)
	w.r.Warn(fmt.Sprintf("the connection is lost (%v); the command goes on, trying again for %s", cause, limit))
}

// Back implements [relay.Watcher].
func (w watcher) Back() {
	w.lost(false)
	w.r.Warn("the connection is back, nothing was lost")
}
