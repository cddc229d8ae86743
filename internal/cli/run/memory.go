package run

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"outrigger.dev/outrigger/internal/claim"
	"outrigger.dev/outrigger/internal/cli/app"
	"outrigger.dev/outrigger/internal/cli/progress"
	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/ledger"
	"outrigger.dev/outrigger/internal/machine"
	"outrigger.dev/outrigger/internal/rawpath"
	"outrigger.dev/outrigger/internal/relay"
	"outrigger.dev/outrigger/internal/runclient"
	"outrigger.dev/outrigger/internal/wire"
	"outrigger.dev/outrigger/internal/workspace"
)

// A memory is what the ledger knows of this run, from before its command starts until all its
// results are here: with it "outrigger fetch" gets them, whatever becomes of us.
type memory struct {
	app    *app.App
	claim  *claim.Claim
	show   progress.Reporter
	retain time.Duration

	mu       sync.Mutex // the lease is renewed by several at once
	rec      ledger.Run
	entry    *ledger.RunEntry // nil before the command starts, and when nothing is wanted any more
	retained bool
}

// remember prepares the record of a run on the machine. A machine of its own gives it its name.
func remember(a *app.App, p *prepared, c *claim.Claim, show progress.Reporter) *memory {
	rec := c.Record()
	m := &memory{app: a, claim: c, show: show, retain: p.retain, rec: ledger.Run{
		ID: string(rec.Name), Machine: rec.Name, Provider: rec.Provider, Lease: string(rec.Name), Lasting: c.Borrowed(),
		Dir: rawpath.Path(p.dir), At: rawpath.Path(p.At), Exclude: rawpath.Paths(p.exclude), TakeGit: p.TakeGit, AllowDeletions: p.AllowDeletions,
		Conflict: p.Conflict,
		Program:  program(p), Keep: p.Keep,
	}}
	if c.Borrowed() {
		m.rec.ID = string(machine.NewName("run"))
		if p.dir != "" {
			m.rec.Folder = workspace.ID(rec.Name, p.dir, p.At)
		}
	}
	return m
}

func program(p *prepared) string {
	if p.Script != "" {
		return "--script " + filepath.Base(p.Script)
	}
	return p.Argv[0]
}

func (m *memory) id() string { return m.rec.ID }

// until is how long results can be had that stay there until expires: no longer than the machine.
func (m *memory) until(expires time.Time) time.Time {
	if end := m.claim.Record().Expires; !end.IsZero() && end.Before(expires) {
		return end.UTC()
	}
	return expires.UTC()
}

// renewed is called when the lease lives until then.
func (m *memory) renewed(until time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	until = m.until(until.Add(-leaseSlack))
	if m.entry == nil {
		m.rec.Until = until
		return
	}
	if err := m.entry.Update(func(r *ledger.Run) { r.Until = until }); err != nil {
		m.app.Log().Info("time of the run not written", "run", m.rec.ID, "cause", err)
	}
}

// starting is called before the command starts.
func (m *memory) starting(_ context.Context, _ *wire.RunSpec, lease wire.Lease) error {
	l, err := m.app.Ledger()
	if err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.rec.Created, m.rec.Started, m.rec.Client = lease.Created, m.app.IO.Now().UTC(), m.claim.Record().Client
	m.entry, err = l.AddRun(m.rec)
	if err == nil {
		m.show.Event(progress.Event{Event: "run", Run: m.rec.ID, Machine: string(m.rec.Machine)})
	}
	return err
}

// ended is called when it is known how the command ended.
func (m *memory) ended(e runclient.Exit) error {
	code := ExitCode(e)
	return m.entry.Update(func(r *ledger.Run) { r.Exit = &code })
}

// settle forgets a run whose results are all here, or lost with its machine. Else it has the machine
// kept, and adds to err how to get them.
func (m *memory) settle(ctx context.Context, result relay.Result, err error, dead bool) error {
	if m.entry == nil {
		return err
	}
	if !result.Incomplete() || dead {
		if rerr := m.entry.Remove(); rerr != nil {
			return joinFault(err, rerr)
		}
		m.entry = nil
		return err
	}
	until := m.until(m.app.IO.Now().Add(m.retain))
	uerr := m.entry.Update(func(r *ledger.Run) { r.Until, r.Unread = until, result.Unread })
	rec := m.entry.Record()
	uerr = errors.Join(uerr, m.entry.Release())
	if !m.claim.Borrowed() {
		uerr = errors.Join(uerr, m.claim.Retain(until))
	}
	m.retained = true
	m.show.Event(progress.Event{Event: "retained", Run: m.rec.ID, Machine: string(m.rec.Machine), Until: &until})
	if uerr == nil && rec.Unread && !m.claim.Borrowed() {
		uerr = m.replace(ctx, rec)
	}
	if uerr != nil {
		err = joinFault(err, uerr)
	}
	return Retained(err, rec)
}

// leave lets go of the workspace. It remembers as long as the machine may be used again.
func (m *memory) leave(w *workspace.Workspace) error {
	if m.claim.Borrowed() || m.retained {
		return w.Close()
	}
	return w.Forget()
}

// Retained adds to an error until when the results of a run stay on the machine, and what gets them.
func Retained(err error, rec ledger.Run) error {
	f := fault.New(fault.Of(err), "%w", err)
	var inner *fault.Error
	if errors.As(err, &inner) {
		f.Detail, f.Exit = inner.Detail, inner.Exit
	}
	until := rec.Until.Local().Format("2006-01-02 15:04")
	if rec.Unread && !rec.Lasting {
		until += ", or until another run of this folder leaves such paths"
	}
	how := fmt.Sprintf("What is not here stays on machine %s until %s; get it with: outrigger fetch %s", rec.Machine, until, rec.ID)
	switch remedy := fault.Remedy(err); f.Kind {
	case fault.MachineLost, fault.RunLost, fault.Interrupted: // their own would have the run repeated
		return f.WithRemedy("%s", how)
	default:
		if remedy != "" && !strings.HasSuffix(remedy, ".") {
			remedy += "." // it ends in a command
		}
		return f.WithRemedy("%s %s", remedy, how)
	}
}
