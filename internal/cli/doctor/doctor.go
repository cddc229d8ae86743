// Package doctor is outrigger doctor: what works of the way to machines, step by step,
// and what is behind the rest.
package doctor

import (
	"context"
	"slices"

	"github.com/spf13/cobra"

	"outrigger.dev/outrigger/internal/cli/app"
	"outrigger.dev/outrigger/internal/doctor"
	"outrigger.dev/outrigger/internal/doctor/look"
	"outrigger.dev/outrigger/internal/fault"
)

// Options are the command's flags.
type Options struct {
	On      string
	Machine string
	Create  bool
	Image   string
}

// New returns the command.
func New(a *app.App) *cobra.Command {
	var o Options
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Say step by step what works of the way to machines, and how to mend the rest",
		Long: `Look at a provider and at a machine of it, in this order: the name, the route, the
port, TLS, the version of the API, the token and its end, each permission, the image
and whether hosts have it, the room that is left; then the SSH port, the host key, the
login, sudo, the kind of session, the disk and the clock. What fails is told with its
likely cause and its cure; what needs it is not tried.

Nothing is changed and nothing is asked. A machine that is there is looked at; --create
makes one and deletes it afterwards.

The exit code is 125 if a check has failed. With --output json each check is an object
on a line of its own, as it comes.`,
		Example: `  outrigger doctor
  outrigger doctor --on orka --create`,
		Args: app.Args(),
		RunE: app.Run(func(ctx context.Context, _ []string) error { return run(ctx, a, o) }),
	}
	f := cmd.Flags()
	f.StringVar(&o.On, "on", "", "`provider` to look at (default: the configuration's)")
	f.StringVar(&o.Machine, "machine", "", "`name` of the machine to look at (default: one that is there)")
	f.BoolVar(&o.Create, "create", false, "make a machine to look at, and delete it afterwards")
	f.StringVar(&o.Image, "image", "", "`image` to look for, and to make a machine of (default: the provider's)")
	app.ProviderIsOn(cmd)
	a.CompleteFlag(cmd, "on", a.CompleteProviders)
	a.CompleteFlag(cmd, "machine", a.CompleteMachines)
	return cmd
}

func run(ctx context.Context, a *app.App, o Options) error {
	if o.Machine != "" && o.Create {
		return fault.New(fault.Usage, "doctor: --machine and --create: want one of them")
	}
	p, err := configured(ctx, a, o)
	if err != nil {
		return err
	}
	out := newSheet(a, p)
	examine(ctx, a, o, p, out)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return out.end()
}

// examine looks at the place, then at what machines there are.
func examine(ctx context.Context, a *app.App, o Options, p look.Patient, out *sheet) {
	place := p.Place(ctx, out.add)
	var subjects []look.Subject
	var why string
	switch first := firstFailed(place); {
	case ctx.Err() != nil:
		return
	case first != "":
		why = "not tried: " + first + " has failed"
	case o.Create:
		made, err := create(ctx, a, o, p, out)
		if err != nil {
			why = "not tried: create has failed"
			break
		}
		defer made.giveBack(ctx, out)
		subjects = []look.Subject{made.subject}
	default:
		subjects, why = choose(ctx, a, o, p)
	}
	for _, s := range subjects {
		p.Machine(ctx, s, out.add)
	}
	if len(subjects) == 0 && ctx.Err() == nil {
		p.NoMachine(why, out.add)
	}
}

// firstFailed names the first check that has failed and that machines cannot do without.
func firstFailed(all []doctor.Result) string {
	for _, r := range all {
		if r.State == doctor.Failed && !slices.Contains([]string{"nodes", "disk-here"}, r.Check) {
			return r.Check
		}
	}
	return ""
}
