package run

import (
	"fmt"
	"strings"
	"time"

	"outrigger.dev/outrigger/internal/cli/progress"
	"outrigger.dev/outrigger/internal/relay"
	"outrigger.dev/outrigger/internal/worksync/transfer"
)

// A Watcher shows what a relay tells.
type Watcher struct {
	Reporter   progress.Reporter
	Dir        string     // the folder here
	Start, End func()     // called when the command begins and has ended; may be nil
	Connected  func(bool) // tells the watch over the machine's life whether there is a connection
}

var _ relay.Watcher = Watcher{}

var phases = map[relay.Part]progress.Phase{relay.Up: progress.SyncUp, relay.Run: progress.Run, relay.Back: progress.SyncBack}

// Begin implements [relay.Watcher].
func (w Watcher) Begin(part relay.Part) {
	subject := w.Dir
	if part == relay.Run {
		subject = ""
	}
	w.Reporter.Phase(phases[part], subject)
	if part == relay.Run && w.Start != nil {
		w.Start()
	}
}

// Progress implements [relay.Watcher].
func (w Watcher) Progress(p transfer.Progress) {
	w.Reporter.Progress(progress.Amount{Files: p.Files, FilesTotal: p.TotalFiles, Bytes: p.Bytes, BytesTotal: p.TotalBytes})
}

// Synced implements [relay.Watcher].
func (w Watcher) Synced(part relay.Part, r transfer.Report) {
	for _, text := range r.Warnings {
		w.Reporter.Warn(text)
	}
	w.Reporter.Event(progress.Event{
		Event: "synced", Phase: phases[part], Files: r.Files, Deleted: r.Deleted,
		Bytes: r.Bytes, WireBytes: r.Sent + r.Received, Seconds: r.Duration.Seconds(),
	})
	w.Reporter.Done(summary(r))
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
func (w Watcher) Ended() {
	if w.End != nil {
		w.End()
	}
	w.Reporter.Done("")
}

// Warn implements [relay.Watcher].
func (w Watcher) Warn(text string) { w.Reporter.Warn(text) }

// Lost implements [relay.Watcher].
func (w Watcher) Lost(cause error, limit time.Duration) {
	w.Connected(false)
	w.Reporter.Warn(fmt.Sprintf("the connection is lost (%v); the command goes on, trying again for %s", cause, limit))
}

// Back implements [relay.Watcher].
func (w Watcher) Back() {
	w.Connected(true)
	w.Reporter.Warn("the connection is back, nothing was lost")
}
