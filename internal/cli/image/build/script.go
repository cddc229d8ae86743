package build

import (
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/pflag"

	"outrigger.dev/outrigger/internal/cli/app"
	"outrigger.dev/outrigger/internal/cli/progress"
	"outrigger.dev/outrigger/internal/cli/table"
	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/host"
	"outrigger.dev/outrigger/internal/imagebuild"
	"outrigger.dev/outrigger/internal/machine"
	"outrigger.dev/outrigger/internal/provider"
	"outrigger.dev/outrigger/internal/reach"
)

// ScriptOptions are the flags of a build from a script.
type ScriptOptions struct {
	File        string
	Base        string
	Files       []string
	Shell       string
	Force       bool
	Keep        time.Duration
	CPUs        int
	MemoryMiB   int
	Timeout     time.Duration
	BootTimeout time.Duration
}

// keepFor is how long a machine lives that --keep-on-failure leaves, as one of outrigger run --keep.
const keepFor = "24h"

// scriptFlags mean nothing without --script.
var scriptFlags = []string{"base", "file", "shell", "force", "keep-on-failure", "cpus", "memory", "timeout", "boot-timeout"}

func (o *ScriptOptions) add(fs *pflag.FlagSet) {
	fs.StringVar(&o.File, "script", "", "`file` of the script that makes the image, - for standard input")
	fs.StringVar(&o.Base, "base", "", "`image` to start from (default: the provider's)")
	fs.StringArrayVar(&o.Files, "file", nil, "`SRC:DST`, a file or folder to put on the machine before, may be repeated")
	fs.StringVar(&o.Shell, "shell", "", "`interpreter` of a script without a first line that names one (default: bash, or PowerShell on Windows)")
	fs.BoolVar(&o.Force, "force", false, "make it even if it is there, in its place")
	fs.DurationVar(&o.Keep, "keep-on-failure", 0, "keep the machine of a build that failed, for this `time`")
	fs.Lookup("keep-on-failure").NoOptDefVal = keepFor
	fs.IntVar(&o.CPUs, "cpus", 0, "`number` of processors (default: the provider's)")
	fs.IntVar(&o.MemoryMiB, "memory", 0, "memory in `MiB` (default: the provider's)")
	fs.DurationVar(&o.Timeout, "timeout", 0, "`time` that the script may take (default: any)")
	fs.DurationVar(&o.BootTimeout, "boot-timeout", 0, "`time` that the machine may take to answer (default: the configuration's, 3m)")
}

// check finds flags that do not go together.
func (o Options) check() error {
	if o.Script.File == "" {
		if o.changed("script") {
			return fault.New(fault.Usage, "image build: --script is empty")
		}
		for _, name := range scriptFlags {
			if o.changed(name) {
				return fault.New(fault.Usage, "image build: --%s is for a build from a script: --script is missing", name)
			}
		}
		return nil
	}
	s := o.Script
	switch {
	case len(o.Packages) > 0:
		return fault.New(fault.Usage, "image build: --package and --script: want one of them").
			WithRemedy("Install packages in the script.")
	case o.Name == "":
		return fault.New(fault.Usage, "image build: NAME is missing")
	case s.Keep < 0 || s.Timeout < 0 || s.BootTimeout < 0 || s.CPUs < 0 || s.MemoryMiB < 0:
		return fault.New(fault.Usage, "image build: a flag is negative, want 0 or more")
	case o.changed("keep-on-failure") && s.Keep == 0:
		return fault.New(fault.Usage, "image build: --keep-on-failure 0s: want a time")
	}
	return imagebuild.CheckPrefix(o.Name)
}

// fromScript makes an image from another one.
func fromScript(ctx context.Context, a *app.App, o Options) error {
	recipe, err := o.recipe(a)
	if err != nil {
		return err
	}
	cfg, err := a.Config()
	if err != nil {
		return err
	}
	saver, err := app.TheOneThatCan[provider.ImageSaver](ctx, a, o.On, "save images")
	if err != nil {
		return err
	}
	on, p, err := a.Provider(ctx, saver.Name)
	if err != nil {
		return err
	}
	if recipe.Base == "" {
		if recipe.Base, err = defaultBase(a, on); err != nil {
			return err
		}
	}
	l, err := a.Ledger()
	if err != nil {
		return err
	}
	agents, err := a.Agents()
	if err != nil {
		return err
	}
	boot := o.Script.BootTimeout
	if boot == 0 {
		boot = cfg.Run.BootTimeout
	}
	show := a.Display()
	defer show.Close()
	res, err := imagebuild.Build(ctx, p, imagebuild.Options{
		Agents: agents, Reach: reach.Options{Log: a.Log(), Tunnels: a.Tunnels()}, Log: a.Log(), Note: app.By(),
		Absence: cfg.Run.Absence, Timeout: o.Script.Timeout,
		Stage: stages(show, o.Name), Warn: show.Warn,
		Lost: func(cause error) {
			show.Warn(fmt.Sprintf("the connection is lost (%v); the script goes on, trying again for %s", cause, cfg.Run.Absence))
		},
		Back: func() { show.Warn("the connection is back, nothing was lost") },
	}, imagebuild.Spec{
		Prefix: o.Name, Recipe: recipe, CPUs: o.Script.CPUs, MemoryMiB: o.Script.MemoryMiB, Force: o.Script.Force, Keep: o.Script.Keep,
		Labels: map[string]string{"by": app.By()}, Provider: on, Ledger: l,
		Dial: func(ctx context.Context, m machine.Machine) (*host.Host, error) { return a.Dial(ctx, p, m, boot) },
		Watch: func(ctx context.Context, name machine.Name) (context.Context, func(bool)) {
			return a.DeathWatch(ctx, p, name)
		},
	}, a.IO.Err)
	if res.Kept != "" {
		a.Warn(fmt.Sprintf("machine %s is kept for %s: outrigger vm shell %s; end it with: outrigger vm delete %s", res.Kept, o.Script.Keep, res.Kept, res.Kept))
	}
	if err == nil {
		show.Done("")
	}
	show.Close()
	if res.Image.Name == "" {
		return err
	}
	return app.First(err, told(a, res))
}

// told prints the image's name as the last thing on standard output.
func told(a *app.App, res imagebuild.Result) error {
	if a.JSON() {
		return table.Value(a.IO.Out, struct {
			provider.Image
			Skipped bool `json:"skipped"`
		}{res.Image, res.Skipped})
	}
	_, err := fmt.Fprintln(a.IO.Out, res.Image.Name)
	return err
}

// stages shows how far a build is.
func stages(show progress.Reporter, image string) func(imagebuild.Stage) {
	phases := map[imagebuild.Stage]progress.Phase{
		imagebuild.Create: progress.Create, imagebuild.Boot: progress.Boot, imagebuild.Deliver: progress.Deliver,
		imagebuild.Copy: progress.Copy, imagebuild.Run: progress.Run, imagebuild.Clean: progress.Clean,
		imagebuild.Save: progress.Save, imagebuild.Release: progress.Release,
	}
	return func(s imagebuild.Stage) {
		show.Done("")
		show.Phase(phases[s], image)
	}
}

// recipe reads all that goes into the image.
func (o Options) recipe(a *app.App) (imagebuild.Recipe, error) {
	r := imagebuild.Recipe{Base: o.Script.Base, Shell: o.Script.Shell}
	var err error
	if r.Script, err = readScript(o.Script.File, a.IO.In); err != nil {
		return r, err
	}
	for _, f := range o.Script.Files {
		files, err := readFiles(f)
		if err != nil {
			return r, err
		}
		r.Files = append(r.Files, files...)
	}
	return r, r.Check()
}

func readScript(name string, stdin io.Reader) ([]byte, error) {
	in := stdin
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, fault.New(fault.LocalFile, "image build: --script: %w", err).WithRemedy("Give the path of a file that can be read, or - for standard input.")
		}
		defer f.Close()
		in = f
	}
	b, err := io.ReadAll(io.LimitReader(in, imagebuild.MaxScript+1))
	if err != nil {
		return nil, fault.New(fault.LocalFile, "image build: --script %s: %w", name, err)
	}
	return b, nil
}

// defaultBase is what the provider's machines are made from when nobody says.
func defaultBase(a *app.App, on string) (string, error) {
	cfg, err := a.Config()
	if err != nil {
		return "", err
	}
	_, e, err := cfg.Provider(on)
	if err != nil {
		return "", err
	}
	base := ""
	switch {
	case e.QEMU != nil:
		base = e.QEMU.Defaults().Image
	case e.Orka != nil:
		base = e.Orka.Defaults().Image
	}
	if base == "" {
		return "", fault.New(fault.Usage, "image build: provider %s has no default image: --base is missing", on)
	}
	return base, nil
}
