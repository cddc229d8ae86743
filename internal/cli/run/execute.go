package run

import (
	"context"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strings"
	"time"

	"outrigger.dev/outrigger/internal/claim"
	"outrigger.dev/outrigger/internal/cli/app"
	"outrigger.dev/outrigger/internal/cli/progress"
	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/host"
	"outrigger.dev/outrigger/internal/machine"
	"outrigger.dev/outrigger/internal/provider"
	"outrigger.dev/outrigger/internal/relay"
	"outrigger.dev/outrigger/internal/wire"
	"outrigger.dev/outrigger/internal/workspace"
)

const (
	// leaseSlack is how much longer than the permitted absence a lease lives on
	// the machine: a client that comes back at the last moment still finds it.
	leaseSlack = 5 * time.Minute
	// keepFor is how long a machine lives that --keep leaves behind.
	keepFor = 24 * time.Hour
	// stayFor is how long a machine without an end keeps a folder that no run uses.
	stayFor = 30 * 24 * time.Hour
)

// execute takes a machine, runs the job on it and gives it back, on every path.
func execute(ctx context.Context, a *app.App, p *prepared, show progress.Reporter) (err error) {
	signals, stopSignals := relay.Listen(signalNames)
	defer stopSignals()

	// Until the relay has the signals, one of them simply ends what we do.
	taking, handOver := relay.UntilSignal(ctx, signals)
	c, prov, err := take(taking, a, p, show)
	if err != nil {
		handOver()
		return app.Cause(taking, err)
	}
	defer func() {
		show.Phase(progress.Release, string(c.Machine.Name))
		if rerr := giveBack(ctx, a, p, c); rerr != nil {
			err = joinFault(err, rerr)
		} else {
			show.Done("")
		}
	}()
	h, err := boot(taking, a, p, c, prov, show)
	handOver()
	if err != nil {
		return app.Cause(taking, err)
	}
	defer h.Close()
	if err := taking.Err(); err != nil {
		return app.Cause(taking, err)
	}

	ws, folder, forget, err := openWorkspace(ctx, p, c)
	if err != nil {
		return err
	}
	defer func() {
		if ferr := forget(); ferr != nil {
			err = joinFault(err, fault.New(fault.LocalFile, "workspace: %w", ferr))
		}
	}()
	// A machine that dies while the connection is lost is not waited for.
	running, lost := a.DeathWatch(ctx, prov, c.Machine.Name)
	defer lost(false)
	term := openTerminal(ctx, a, p, show)
	files, links, base := p.layout(ws, folder)
	result, err := relay.Do(running, h, relay.Job{
		Lease: relay.Lease{
			Name: string(c.Machine.Name), Owner: c.Record().Owner, Note: note(),
			TTL: leaseTime(p, c),
		},
		Files: files, Links: links, Base: base,
		Command: wire.RunSpec{
			Argv: p.Argv, Script: p.script, Env: p.env, Dir: filepath.ToSlash(p.Workdir),
			TTY: term.size, Timeout: p.Timeout, Locale: locale(a.IO.Environ),
		},
		Streams: term.streams,
		Signals: signals,
		Absence: p.Absence,
		Log:     a.Log(),
	}, watcher{r: show, dir: p.dir, terminal: term, lost: lost})
	if terr := term.close(); err == nil && !result.Ran {
		err = terr
	}
	if err != nil {
		return describe(err, result)
	}
	return exitOf(show, result.Exit)
}

// locale is what OpenSSH's client sends, too, where its configuration is Debian's or macOS's.
func locale(environ []string) []string {
	var all []string
	for _, kv := range environ {
		if strings.HasPrefix(kv, "LANG=") || strings.HasPrefix(kv, "LC_") {
			all = append(all, kv)
		}
	}
	return all
}

// layout says what is synced and where on the machine it appears.
func (p *prepared) layout(ws *workspace.Workspace, folder string) (files []relay.Files, links []relay.Link, base string) {
	if p.dir != "" {
		files = []relay.Files{{
			Dir: p.dir, StateDir: ws.StateDir(), Exclude: p.exclude, TakeGit: p.TakeGit, TempTag: ws.TempTag, Folder: folder,
			AllowHere: p.AllowDeletions, AllowThere: p.AllowDeletions, Prefer: conflicts[p.Conflict],
		}}
	}
	if p.At == "" {
		return files, nil, folder
	}
	return files, []relay.Link{{Path: p.At, Target: folder}}, p.At
}

// take makes a machine, or borrows the one that --on names.
func take(ctx context.Context, a *app.App, p *prepared, show progress.Reporter) (*claim.Claim, provider.Provider, error) {
	l, err := a.Ledger()
	if err != nil {
		return nil, nil, err
	}
	if p.existing != "" {
		rec, err := l.Get(p.existing)
		if err != nil {
			return nil, nil, err
		}
		_, prov, err := a.Provider(ctx, rec.Provider)
		if err != nil {
			return nil, nil, err
		}
		c, err := claim.Borrow(ctx, l, prov, p.existing)
		return c, prov, err
	}
	name, prov, err := a.Provider(ctx, p.On)
	if err != nil {
		return nil, nil, err
	}
	spec := machine.Spec{
		Name: machine.NewName("run"), Image: p.Image,
		Expires: time.Now().Add(max(p.expires, p.Timeout+time.Hour)).UTC(),
	}
	show.Phase(progress.Create, fmt.Sprintf("%s on %s", spec.Name, name))
	c, err := claim.Take(ctx, l, prov, claim.Request{
		Provider: name, Spec: spec,
	})
	if err == nil {
		show.Event(progress.Event{Event: "machine", Machine: string(spec.Name), Provider: name})
		show.Done("")
	}
	return c, prov, err
}

// boot waits until the machine answers.
func boot(ctx context.Context, a *app.App, p *prepared, c *claim.Claim, prov provider.Provider, show progress.Reporter) (*host.Host, error) {
	show.Phase(progress.Boot, string(c.Machine.Name))
	limit := p.BootTimeout
	if p.existing != "" {
		limit = 0 // it booted long ago: what does not answer now will not answer later
	}
	h, err := a.Dial(ctx, prov, c.Machine, limit)
	if err == nil {
		show.Done("")
	}
	return h, err
}

// giveBack releases the machine; --keep leaves it, and says how to get there.
func giveBack(ctx context.Context, a *app.App, p *prepared, c *claim.Claim) error {
	if p.Keep && !c.Borrowed() {
		if err := c.Keep(time.Now().Add(keepFor).UTC()); err != nil {
			return err
		}
		a.Warn(fmt.Sprintf("machine %s is kept for %s: outrigger vm shell %s; end it with: outrigger vm delete %s",
			c.Machine.Name, keepFor, c.Machine.Name, c.Machine.Name))
	}
	return c.Release(ctx)
}

// leaseTime is how long the machine holds on to the lease after we were last
// heard: while we may come back, and for a machine that stays until its end.
func leaseTime(p *prepared, c *claim.Claim) time.Duration {
	switch rec := c.Record(); {
	case !c.Borrowed():
		return p.Absence + leaseSlack
	case rec.Expires.IsZero():
		return stayFor
	default:
		return time.Until(rec.Expires) + leaseSlack
	}
}

// openWorkspace remembers this folder for a machine that stays, so that its
// second run moves differences only; release forgets it for one that does not.
func openWorkspace(ctx context.Context, p *prepared, c *claim.Claim) (w *workspace.Workspace, folder string, release func() error, err error) {
	w, err = workspace.Open(ctx, p.dirs.State, c.Machine.Name, p.dir, p.At)
	if err != nil {
		return nil, "", nil, err
	}
	switch {
	case !c.Borrowed():
		return w, "", w.Forget, nil
	case p.dir == "": // the run starts above the folders of others
		return w, "", w.Close, nil
	}
	return w, w.ID, w.Close, nil
}

func note() string {
	name, err := os.Hostname()
	if err != nil {
		name = "unknown"
	}
	if u, err := user.Current(); err == nil {
		return u.Username + "@" + name
	}
	return name
}
