// Package app is one call of the program: its surroundings, the global flags
// and what commands need of the configuration, made at first use. A command
// that needs no provider opens none, and outrigger version works with a broken
// configuration.
package app

import (
	"context"
	"log/slog"
	"sync"

	"outrigger.dev/outrigger/internal/cli/progress"
	"outrigger.dev/outrigger/internal/cli/term"
	"outrigger.dev/outrigger/internal/config"
	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/ledger"
	"outrigger.dev/outrigger/internal/machine"
	"outrigger.dev/outrigger/internal/provider"
	"outrigger.dev/outrigger/internal/provider/all"
	"outrigger.dev/outrigger/internal/reach/deliver"
	"outrigger.dev/outrigger/internal/reach/via"
	"outrigger.dev/outrigger/internal/reach/wireguard"
)

// An App is one call of the program. Its methods are for one goroutine at a time.
type App struct {
	IO    *term.IO
	Flags Flags

	dirs   func() (config.Dirs, error)
	config func() (*config.Config, error)
	ledger func() (*ledger.Ledger, error)
	log    func() *slog.Logger
	opened map[string]provider.Provider
	// tunnels are opened when something is dialled through WireGuard.
	tunnels *wireguard.Tunnels
	shown   progress.Reporter // the last display that was handed out
}

// New returns the App of one call.
func New(io *term.IO) *App {
	a := &App{IO: io, Flags: Flags{Output: Text}, opened: map[string]provider.Provider{}, tunnels: new(wireguard.Tunnels)}
	a.dirs = sync.OnceValues(func() (config.Dirs, error) { return config.FindDirs(io.Getenv) })
	a.config = sync.OnceValues(a.loadConfig)
	a.ledger = sync.OnceValues(a.openLedger)
	a.log = sync.OnceValue(a.newLog)
	return a
}

// Close ends what is open beyond commands.
func (a *App) Close() error { return a.tunnels.Close() }

// Tunnels carry connections through WireGuard.
func (a *App) Tunnels() via.Tunnels { return a.tunnels }

// JSON tells whether the output is for a script.
func (a *App) JSON() bool { return a.Flags.Output == JSON }

// Dirs returns the folders that belong to Outrigger here.
func (a *App) Dirs() (config.Dirs, error) { return a.dirs() }

// Config returns what the user configured.
func (a *App) Config() (*config.Config, error) { return a.config() }

func (a *App) loadConfig() (*config.Config, error) {
	dirs, err := a.Dirs()
	if err != nil {
		return nil, err
	}
	path, explicit, err := dirs.File(a.Flags.Config, a.IO.Getenv)
	if err != nil {
		return nil, err
	}
	c, err := config.Load(path, explicit, dirs.Home)
	if err != nil {
		return nil, err // a half-read configuration is nobody's to use
	}
	return c, nil
}

// Ledger returns the record of machines that this installation asked for.
func (a *App) Ledger() (*ledger.Ledger, error) { return a.ledger() }

func (a *App) openLedger() (*ledger.Ledger, error) {
	dirs, err := a.Dirs()
	if err != nil {
		return nil, err
	}
	return ledger.Open(dirs.State)
}

// Agents returns the agents that belong to this program.
func (a *App) Agents() (deliver.Source, error) { return deliver.FindSource(a.IO.Getenv) }

// Log returns the log: nothing without --verbose, progress of ours with one,
// details with two.
func (a *App) Log() *slog.Logger { return a.log() }

func (a *App) newLog() *slog.Logger {
	if a.Flags.Verbose == 0 {
		return slog.New(slog.DiscardHandler)
	}
	level := slog.LevelInfo
	if a.Flags.Verbose > 1 {
		level = slog.LevelDebug
	}
	return slog.New(slog.NewTextHandler(a.IO.Err, &slog.HandlerOptions{Level: level}))
}

// Reporter returns the progress display of a command whose standard output is
// events under --output json. The caller closes it.
func (a *App) Reporter() progress.Reporter {
	a.shown = progress.New(a.IO, progress.Options{Quiet: a.Flags.Quiet, Plain: a.Flags.Verbose > 0, JSON: a.JSON()})
	return a.shown
}

// Display returns the progress display of a command that prints a result:
// nothing of it goes to standard output. The caller closes it.
func (a *App) Display() progress.Reporter {
	a.shown = progress.New(a.IO, progress.Options{Quiet: a.Flags.Quiet || a.JSON(), Plain: a.Flags.Verbose > 0})
	return a.shown
}

// Provider opens the provider called name, the default one for "", once.
func (a *App) Provider(ctx context.Context, name string) (string, provider.Provider, error) {
	cfg, err := a.Config()
	if err != nil {
		return "", nil, err
	}
	name, _, err = cfg.Provider(name)
	if err != nil {
		return "", nil, err
	}
	if p, ok := a.opened[name]; ok {
		return name, p, nil
	}
	secrets := config.Secrets{Getenv: a.IO.Getenv, Environ: a.IO.Environ, Warn: a.Warn}
	resolved, err := cfg.Resolve(ctx, name, secrets)
	if err != nil {
		return "", nil, err
	}
	way, err := cfg.Via(ctx, name, secrets)
	if err != nil {
		return "", nil, err
	}
	dirs, err := a.Dirs()
	if err != nil {
		return "", nil, err
	}
	agents, err := a.Agents()
	if err != nil {
		return "", nil, err
	}
	secret, err := a.leaseSecret()
	if err != nil {
		return "", nil, err
	}
	p, err := all.Open(name, resolved, all.Place{State: dirs.State, Agents: agents, Log: a.Log(), Secret: secret, Via: way, Tunnels: a.tunnels})
	if err != nil {
		return "", nil, err
	}
	a.opened[name] = p
	return name, p, nil
}

// leaseSecret is what the keys of this installation's leases are derived from.
func (a *App) leaseSecret() (machine.Secret, error) {
	l, err := a.Ledger()
	if err != nil {
		return machine.Secret{}, err
	}
	return l.Secret()
}

// Warn tells of something that is not an error, without spoiling a display.
func (a *App) Warn(text string) {
	r := a.shown
	if r == nil {
		r = progress.New(a.IO, progress.Options{Quiet: true}) // it shows warnings and nothing else
	}
	r.Warn(text)
}

// Machine finds a machine that this installation made to stay, or that a run of it
// uses now, with its provider.
func (a *App) Machine(ctx context.Context, text string) (machine.Machine, provider.Provider, error) {
	rec, err := a.record(text)
	if err != nil {
		return machine.Machine{}, nil, err
	}
	_, p, err := a.Provider(ctx, rec.Provider)
	if err != nil {
		return machine.Machine{}, nil, err
	}
	m, err := p.Get(ctx, rec.Name)
	return m, p, err
}

func (a *App) record(text string) (ledger.Record, error) {
	name, err := machine.ParseName(text)
	if err != nil {
		return ledger.Record{}, fault.New(fault.Usage, "%w", err)
	}
	l, err := a.Ledger()
	if err != nil {
		return ledger.Record{}, err
	}
	rec, err := l.Get(name)
	if !fault.Is(err, fault.UnknownMachine) {
		return rec, err
	}
	recs, lerr := l.List()
	if lerr != nil {
		return ledger.Record{}, err
	}
	var names []string
	for _, r := range recs {
		names = append(names, string(r.Name))
	}
	return ledger.Record{}, fault.New(fault.UnknownMachine, "machine %q: not known here%s", name, DidYouMean(text, names))
}
