package run

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"

	"outrigger.dev/outrigger/internal/claim"
	"outrigger.dev/outrigger/internal/cli/app"
	"outrigger.dev/outrigger/internal/cli/progress"
	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/host"
	"outrigger.dev/outrigger/internal/ledger"
	"outrigger.dev/outrigger/internal/machine"
	"outrigger.dev/outrigger/internal/provider"
	"outrigger.dev/outrigger/internal/relay"
	"outrigger.dev/outrigger/internal/wire"
	"outrigger.dev/outrigger/internal/workspace"
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
	mem := remember(a, p, c, show)
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

	ws, folder, err := openWorkspace(ctx, p, c)
	if err != nil {
		return err
	}
	defer func() {
		if ferr := mem.leave(ws); ferr != nil {
			err = joinFault(err, fault.New(fault.LocalFile, "workspace: %w", ferr))
		}
	}()
	// A machine that dies while the connection is lost is not waited for.
	running, lost := a.DeathWatch(ctx, prov, c.Machine.Name)
	defer lost(false)
	term := openTerminal(ctx, a, p, show)
	files, links, base := p.layout(ws, folder)
	ttl, hold := p.leaseTimes(c.Record(), c.Borrowed(), a.IO.Now())
	result, err := relay.Do(running, h, relay.Job{
		Lease: relay.Lease{
			Name: string(c.Machine.Name), Owner: c.Record().Owner, Note: app.By(), TTL: ttl, Hold: hold, Renewed: mem.renewed,
		},
		Files: files, Links: links, Base: base,
		Command: wire.RunSpec{
			RunID: mem.id(),
			Argv:  p.Argv, Script: p.script, Env: append(term.env, p.env...), Dir: filepath.ToSlash(p.Workdir),
			TTY: term.size, ErrPipe: term.errPipe, Timeout: p.Timeout, Locale: locale(a.IO.Environ),
		},
		Streams:  term.streams,
		Signals:  signals,
		Starting: mem.starting,
		Ended:    mem.ended,
		Absence:  p.Absence,
		Log:      a.Log(),
		Now:      a.IO.Now,
	}, Watcher{Reporter: show, Dir: p.dir, Start: term.start, End: term.end, Connected: func(on bool) { lost(!on) }})
	if terr := term.close(); err == nil && !result.Ran {
		err = terr
	}
	if err != nil {
		err = describe(err, result)
	} else {
		err = exitOf(show, result.Exit)
	}
	return mem.settle(ctx, result, err, fault.Is(context.Cause(running), fault.MachineLost))
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
	names, err := p.machineNames(a, l, name)
	if err != nil {
		return nil, nil, err
	}
	var c *claim.Claim
	spec := machine.Spec{Image: p.Image, Expires: p.machineEnd(a.IO.Now()).UTC()}
	for _, spec.Name = range names {
		show.Phase(progress.Create, fmt.Sprintf("%s on %s", spec.Name, name))
		c, err = claim.Take(ctx, l, prov, claim.Request{Provider: name, Spec: spec})
		if !fault.Is(err, fault.NameTaken) && !fault.Is(err, fault.Busy) {
			break
		}
	}
	if err == nil {
		show.Event(progress.Event{Event: "machine", Machine: string(spec.Name), Provider: name, Run: string(spec.Name)})
		show.Done("")
	}
	return c, prov, err
}

// machineNames are the names for the machine of this run, the preferred first. A folder's runs follow each
// other on machines of one name: the name is part of the folder's path there, and CMake, Python's virtual
// environments and others write that path into files that come back. While a run's machine or results are
// still there, the next one's name is random. So are names at Orka, where a name that was deleted is taken
// for a while longer.
func (p *prepared) machineNames(a *app.App, l *ledger.Ledger, provider string) ([]machine.Name, error) {
	random := []machine.Name{machine.NewName("run")}
	cfg, err := a.Config()
	if err != nil {
		return nil, err
	}
	if p.dir == "" || cfg.Providers[provider].Type() == "orka" {
		return random, nil
	}
	owner, err := l.Owner()
	if err != nil {
		return nil, err
	}
	name := machine.NameFor("run", string(owner), provider, p.dir, p.At)
	switch _, err := l.GetRun(string(name)); {
	case fault.Is(err, fault.UnknownRun):
		return append([]machine.Name{name}, random...), nil
	case err != nil:
		return nil, err
	}
	return random, nil
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
		if err := c.Keep(a.IO.Now().Add(keepFor).UTC()); err != nil {
			return err
		}
		a.Warn(fmt.Sprintf("machine %s is kept for %s: outrigger vm shell %s; end it with: outrigger vm delete %s",
			c.Machine.Name, keepFor, c.Machine.Name, c.Machine.Name))
	}
	return c.Release(ctx)
}

// openWorkspace takes this folder's workspace for the machine. A machine that stays has a folder
// for each.
func openWorkspace(ctx context.Context, p *prepared, c *claim.Claim) (w *workspace.Workspace, folder string, err error) {
	w, err = workspace.Open(ctx, p.dirs.State, c.Machine.Name, p.dir, p.At)
	if err != nil {
		return nil, "", err
	}
	if !c.Borrowed() || p.dir == "" { // without a folder the run starts above those of others
		return w, "", nil
	}
	return w, w.ID, nil
}
