// Package check is outrigger config check.
package check

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"outrigger.dev/outrigger/internal/cli/app"
	"outrigger.dev/outrigger/internal/cli/table"
	"outrigger.dev/outrigger/internal/config"
	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/provider/all"
)

// Result is the output under --output json. Secrets are not in it.
type Result struct {
	File      string     `json:"file,omitempty"` // "" when there is none
	Default   string     `json:"default"`
	Providers []Provider `json:"providers"`
	Run       Run        `json:"run"`
	Warnings  []string   `json:"warnings,omitempty"`
}

// A Provider is one entry.
type Provider struct {
	Name    string   `json:"name"`
	Type    string   `json:"type"` // local, ssh or qemu
	Default bool     `json:"default"`
	Details []string `json:"details,omitempty"` // the hosts' addresses, the image
}

// Run is what runs start from. Of the environment only names are shown: its
// values may be secrets.
type Run struct {
	Exclude     []string `json:"exclude,omitempty"`
	Env         []string `json:"env,omitempty"`
	Image       string   `json:"image,omitempty"`
	At          string   `json:"at,omitempty"`
	Timeout     string   `json:"timeout,omitempty"`
	Absence     string   `json:"absence"`
	BootTimeout string   `json:"bootTimeout"`
	Expires     string   `json:"expires"`
}

// New returns the command.
func New(a *app.App) *cobra.Command {
	return &cobra.Command{
		Use:   "check",
		Short: "Check the configuration and say what it holds",
		Long: `Check the configuration: keys, values, files that it names, and what each
provider says of its own part. No machine is contacted and no secret is read.
All mistakes are shown with line and column.`,
		Example: `  outrigger config check
  outrigger config check --config ./outrigger.yaml --output json`,
		Args: app.Args(),
		RunE: app.Run(func(context.Context, []string) error { return run(a) }),
	}
}

func run(a *app.App) error {
	cfg, err := a.Config()
	if err != nil {
		return err
	}
	warnings, err := cfg.CheckFiles()
	if err != nil {
		return err
	}
	if err := open(a, cfg); err != nil {
		return err
	}
	res := describe(cfg, warnings)
	if a.JSON() {
		return table.Value(a.IO.Out, res)
	}
	return show(a, res)
}

// open lets each provider look at its entry.
func open(a *app.App, cfg *config.Config) error {
	dirs, err := a.Dirs()
	if err != nil {
		return err
	}
	agents, err := a.Agents()
	if err != nil {
		return err
	}
	for _, name := range cfg.Names() {
		_, e, err := cfg.Provider(name)
		if err != nil {
			return err
		}
		_, err = all.Open(name, e.Config(), all.Place{State: dirs.State, Agents: agents, Log: a.Log()})
		if fault.Is(err, fault.Config) {
			cfg.ReportEntry(name, err)
		}
		// Anything else, such as an emulator that is not installed, concerns
		// who uses that provider, and its use says so.
	}
	return cfg.Problems()
}

func describe(cfg *config.Config, warnings []string) Result {
	r := cfg.Run
	res := Result{
		File: cfg.File, Default: cfg.Default, Warnings: warnings,
		Run: Run{
			Exclude: r.Exclude, Env: cfg.EnvNames(), Image: r.Image, At: r.At,
			Absence: r.Absence.String(), BootTimeout: r.BootTimeout.String(), Expires: r.Expires.String(),
		},
	}
	if r.Timeout > 0 {
		res.Run.Timeout = r.Timeout.String()
	}
	for _, name := range cfg.Names() {
		e := cfg.Providers[name]
		res.Providers = append(res.Providers, Provider{Name: name, Type: e.Type(), Default: name == cfg.Default, Details: details(e)})
	}
	return res
}

func details(e config.Entry) []string {
	switch {
	case e.SSH != nil:
		var hosts []string
		for _, h := range e.SSH.Hosts {
			hosts = append(hosts, fmt.Sprintf("%s (%d)", h.Address, max(h.Slots, 1)))
		}
		return hosts
	case e.QEMU != nil:
		return []string{"image " + e.QEMU.Defaults().Image}
	}
	return nil
}

func show(a *app.App, res Result) error {
	for _, w := range res.Warnings {
		a.Warn(w)
	}
	file := res.File
	if file == "" {
		file = "no file, built-in defaults"
	}
	if _, err := fmt.Fprintf(a.IO.Out, "configuration: %s\n\n", file); err != nil {
		return err
	}
	t := table.Table{Columns: []string{"PROVIDER", "TYPE", "DEFAULT", "DETAILS"}}
	for _, p := range res.Providers {
		isDefault := ""
		if p.Default {
			isDefault = "yes"
		}
		t.Add(p.Name, p.Type, isDefault, strings.Join(p.Details, ", "))
	}
	return t.Write(a.IO.Out)
}
