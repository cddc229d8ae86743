package fetch

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"outrigger.dev/outrigger/internal/claim"
	"outrigger.dev/outrigger/internal/cli/app"
	"outrigger.dev/outrigger/internal/cli/progress"
	clirun "outrigger.dev/outrigger/internal/cli/run"
	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/ledger"
	"outrigger.dev/outrigger/internal/provider"
	"outrigger.dev/outrigger/internal/rawpath"
	"outrigger.dev/outrigger/internal/relay"
	"outrigger.dev/outrigger/internal/runclient"
	"outrigger.dev/outrigger/internal/wire"
	"outrigger.dev/outrigger/internal/workspace"
)

// A fetching is the call of the command for one run.
type fetching struct {
	Options
	app   *app.App
	show  progress.Reporter
	entry *ledger.RunEntry
	rec   ledger.Run
	claim *claim.Claim
	prov  provider.Provider
}

// run fetches, and lets go of what it holds on every path.
func run(ctx context.Context, a *app.App, o Options) (err error) {
	if err := o.check(); err != nil {
		return err
	}
	l, err := a.Ledger()
	if err != nil {
		return err
	}
	entry, err := find(l, o.Run)
	if err != nil {
		return err
	}
	show := a.Reporter()
	defer show.Close()
	f := &fetching{Options: o, app: a, show: show, entry: entry, rec: entry.Record()}
	whole, err := f.fetch(ctx, l)
	if whole && err == nil {
		err = entry.Remove() // first: a machine without a run that wants it is removed by a sweep
	} else {
		err = app.First(err, entry.Release())
	}
	if f.claim != nil {
		err = app.First(err, f.giveBack(ctx, whole && err == nil))
	}
	if err != nil && a.JSON() {
		show.Event(progress.Fault(err))
	}
	if err == nil {
		return progress.Lost(show)
	}
	return err
}

// giveBack deletes a machine of the run's own that is not wanted any more.
func (f *fetching) giveBack(ctx context.Context, whole bool) error {
	if !f.claim.Borrowed() {
		var err error
		switch {
		case !whole:
			err = f.claim.Retain(f.rec.Until)
		case f.Keep:
			err = f.claim.Keep(f.rec.Until)
		default:
			f.show.Phase(progress.Release, string(f.rec.Machine))
		}
		if err != nil {
			return errors.Join(err, f.claim.Retain(f.rec.Until), f.claim.Release(ctx))
		}
	}
	return f.claim.Release(ctx)
}

// fetch takes the machine and gets what was asked for. whole tells that all of the run's results are here.
func (f *fetching) fetch(ctx context.Context, l *ledger.Ledger) (whole bool, err error) {
	_, f.prov, err = f.app.Provider(ctx, f.rec.Provider)
	if err != nil {
		return false, err
	}
	take := claim.Retake
	if f.rec.Lasting {
		take = claim.Borrow
	}
	if f.claim, err = take(ctx, l, f.prov, f.rec.Machine); err != nil {
		if fault.Is(err, fault.UnknownMachine) {
			return false, fault.New(fault.MachineLost, "run %s: its machine is gone, and what was not fetched with it: %w", f.rec.ID, err).
				WithRemedy("outrigger gc forgets it.")
		}
		return false, err
	}
	f.show.Phase(progress.Boot, string(f.rec.Machine))
	h, err := f.app.Dial(ctx, f.prov, f.claim.Machine, 0)
	if err != nil {
		return false, err
	}
	defer h.Close()
	f.show.Done("")
	dirs, err := f.app.Dirs()
	if err != nil {
		return false, err
	}
	ws, err := workspace.Open(ctx, dirs.State, f.rec.Machine, string(f.rec.Dir), string(f.rec.At))
	if err != nil {
		return false, err
	}
	files, cleanup, err := f.files(ws)
	if err != nil {
		return false, errors.Join(err, ws.Close())
	}
	running, lost := f.app.DeathWatch(ctx, f.prov, f.rec.Machine)
	defer lost(false)
	job, flush, err := f.job(files)
	if err != nil {
		return false, errors.Join(err, cleanup(), ws.Close())
	}
	result, err := relay.Do(running, h, job, clirun.Watcher{
		Reporter: f.show, Dir: f.dir(), Connected: func(on bool) { lost(!on) },
	})
	err = f.judge(result, err)
	whole = err == nil && result.Whole && len(f.Paths) == 0 && f.To == ""
	leave := ws.Close
	if whole && !f.rec.Lasting {
		leave = ws.Forget
	}
	return whole, app.First(err, errors.Join(flush(), cleanup(), leave()))
}

// dir is the folder that files are brought to.
func (f *fetching) dir() string {
	if f.To != "" {
		return f.To
	}
	return string(f.rec.Dir)
}

// files says what is brought where. Another folder has a memory of its own, which is gone afterwards.
func (f *fetching) files(ws *workspace.Workspace) (files []relay.Files, cleanup func() error, err error) {
	cleanup = func() error { return nil }
	if f.rec.Dir == "" {
		if len(f.Paths) > 0 || f.To != "" {
			return nil, cleanup, fault.New(fault.Usage, "fetch: run %s had no folder: there are no files to be fetched", f.rec.ID)
		}
		return nil, cleanup, nil
	}
	exclude, err := f.exclude()
	if err != nil {
		return nil, cleanup, err
	}
	state := ws.StateDir()
	if f.To != "" {
		if state, err = os.MkdirTemp("", "outrigger-fetch-"); err != nil {
			return nil, cleanup, fault.New(fault.LocalFile, "fetch: %w", err)
		}
		cleanup = func() error { return os.RemoveAll(state) }
	} else if _, err := os.Stat(string(f.rec.Dir)); err != nil {
		return nil, cleanup, fault.New(fault.LocalFile, "fetch: the run's folder: %w", err).
			WithRemedy("Bring the files elsewhere: outrigger fetch %s --to FOLDER", f.rec.ID)
	}
	return []relay.Files{{
		Dir: f.dir(), StateDir: state, Exclude: exclude, TakeGit: f.rec.TakeGit,
		AllowHere: f.rec.AllowDeletions, AllowThere: f.rec.AllowDeletions, Prefer: clirun.Prefer(f.rec.Conflict), TempTag: ws.TempTag, Folder: f.rec.Folder, Only: f.Paths, Apart: f.To != "",
	}}, cleanup, nil
}

// exclude are the run's patterns. On a machine of its own, which was kept, other runs may have had folders
// within its own since.
func (f *fetching) exclude() ([]string, error) {
	all := rawpath.Strings(f.rec.Exclude)
	if f.rec.Folder != "" {
		return all, nil
	}
	dirs, err := f.app.Dirs()
	if err != nil {
		return nil, err
	}
	others, err := workspace.Folders(dirs.State, f.rec.Machine)
	if err != nil {
		return nil, err
	}
	for _, name := range others {
		all = append(all, "/"+name+"/")
	}
	return all, nil
}

// job is the rest of the run: joining it, unless it is known how it ended, and its files.
func (f *fetching) job(files []relay.Files) (job relay.Job, flush func() error, err error) {
	cfg, err := f.app.Config()
	if err != nil {
		return relay.Job{}, nil, err
	}
	io := f.app.IO
	ttl, hold := clirun.FetchTimes(f.rec, f.claim.Record(), cfg.Run.Absence, io.Now())
	job = relay.Job{
		Lease: relay.Lease{
			Name: f.rec.Lease, Owner: f.claim.Record().Owner, Note: app.By(), TTL: ttl, Hold: hold, Known: f.rec.Created,
		},
		Files:   files,
		Command: wire.RunSpec{RunID: f.rec.ID},
		Streams: runclient.Streams{Out: io.Out, Err: io.Err},
		Attach:  f.rec.Exit == nil, Over: f.rec.Exit != nil,
		Absence: cfg.Run.Absence,
		Ended: func(e runclient.Exit) error {
			code := clirun.ExitCode(e)
			f.rec.Exit = &code
			return f.entry.Update(func(r *ledger.Run) { r.Exit = &code })
		},
		Log: f.app.Log(),
		Now: io.Now,
	}
	flush = func() error { return nil }
	if f.app.JSON() {
		out, errs := progress.NewStream(f.show, "stdout"), progress.NewStream(f.show, "stderr")
		job.Streams.Out, job.Streams.Err = out, errs
		flush = func() error { return errors.Join(out.Close(), errs.Close()) }
	}
	return job, flush, nil
}

// judge says how the command ended, which is no error of ours, and whether what was asked for is here.
func (f *fetching) judge(result relay.Result, err error) error {
	ended := ""
	switch {
	case f.rec.Exit != nil:
		f.show.Event(progress.Event{Event: "exit", Exit: f.rec.Exit, Signal: result.Exit.Signal, Seconds: result.Exit.Took.Seconds()})
		ended = fmt.Sprintf("the command ended with exit code %d", *f.rec.Exit)
	case result.Whole && err != nil:
		ended = fmt.Sprintf("how the command ended is not known: %v", err)
	}
	if result.Whole && (fault.Is(err, fault.RunLost) || fault.Is(err, fault.TimedOut)) {
		err = nil // that is about the command
	}
	if ended != "" && !f.app.JSON() && !f.app.Flags.Quiet {
		f.show.Close()
		if _, perr := fmt.Fprintf(f.app.IO.Err, "run %s: %s\n", f.rec.ID, ended); perr != nil {
			err = app.First(err, perr)
		}
	}
	if err != nil {
		return clirun.Retained(err, f.rec)
	}
	for _, p := range f.Paths {
		if _, err := os.Lstat(filepath.Join(f.dir(), filepath.FromSlash(p))); err != nil {
			return fault.New(fault.RemoteFile, "fetch: path %q: is not on the machine, or was excluded from the run", p).
				WithRemedy("See what is there with: outrigger fetch %s --to FOLDER", f.rec.ID)
		}
	}
	if f.rec.Exit == nil && f.app.JSON() && ended != "" {
		f.show.Event(progress.Event{Event: "warning", Text: ended})
	}
	return nil
}
