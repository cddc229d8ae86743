// Package create is outrigger vm create.
package create

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"outrigger.dev/outrigger/internal/claim"
	"outrigger.dev/outrigger/internal/cli/app"
	"outrigger.dev/outrigger/internal/cli/progress"
	"outrigger.dev/outrigger/internal/cli/table"
	"outrigger.dev/outrigger/internal/config"
	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/machine"
	"outrigger.dev/outrigger/internal/provider"
	"outrigger.dev/outrigger/internal/wire"
)

// Options are the command's flags.
type Options struct {
	On          string
	Image       string
	Name        string
	CPUs        int
	MemoryMiB   int
	Expires     time.Duration
	BootTimeout time.Duration // 0: the configuration's
}

// New returns the command.
func New(a *app.App) *cobra.Command {
	o := Options{Expires: config.DefaultExpires}
	cmd := &cobra.Command{
		Use:   "create",
		Short: "Make a machine that stays",
		Long: `Make a machine that stays until it is deleted or its time is over, wait until
commands can run on it, and print its name.

When anything goes wrong, or when it is interrupted, the machine is deleted
again. After its time is over outrigger gc deletes it.`,
		Example: `  outrigger vm create --name box
  box=$(outrigger vm create --on qemu --expires 2h)`,
		Args: app.Args(),
		RunE: app.Run(func(ctx context.Context, _ []string) error { return run(ctx, a, o) }),
	}
	fs := cmd.Flags()
	fs.StringVar(&o.On, "on", "", "`provider` to make it (default: the configuration's)")
	fs.StringVar(&o.Image, "image", "", "`image` to make it from (default: the provider's)")
	fs.StringVar(&o.Name, "name", "", "`name` of the machine (default: one that is free)")
	fs.IntVar(&o.CPUs, "cpus", 0, "`number` of processors (default: the provider's)")
	fs.IntVar(&o.MemoryMiB, "memory", 0, "memory in `MiB` (default: the provider's)")
	fs.DurationVar(&o.Expires, "expires", o.Expires, "`time` after which it may be deleted, 0 for never")
	fs.DurationVar(&o.BootTimeout, "boot-timeout", 0, "`time` it may take to answer (default: the configuration's, 3m)")
	a.CompleteFlag(cmd, "on", a.CompleteProviders)
	return cmd
}

// request checks all that can be checked before anything is made.
func (o Options) request(a *app.App) (machine.Spec, error) {
	cfg, err := a.Config()
	if err != nil {
		return machine.Spec{}, err
	}
	on, _, err := cfg.Provider(o.On)
	if err != nil {
		return machine.Spec{}, err
	}
	name := machine.NewName(on[:min(len(on), 40)]) // leaves room for the random part
	if o.Name != "" {
		if name, err = machine.ParseName(o.Name); err != nil {
			return machine.Spec{}, fault.New(fault.Usage, "--name: %w", err)
		}
		if _, taken := cfg.Providers[o.Name]; taken {
			return machine.Spec{}, fault.New(fault.Usage, "--name: %q is the name of a provider: --on could mean either", o.Name)
		}
	}
	if o.Expires < 0 || o.BootTimeout < 0 || o.CPUs < 0 || o.MemoryMiB < 0 {
		return machine.Spec{}, fault.New(fault.Usage, "vm create: a flag is negative, want 0 or more")
	}
	spec := machine.Spec{Name: name, Image: o.Image, CPUs: o.CPUs, MemoryMiB: o.MemoryMiB, Labels: map[string]string{"by": app.By()}}
	if o.Expires > 0 {
		spec.Expires = a.IO.Now().Add(o.Expires).UTC()
	}
	return spec, nil
}

func run(ctx context.Context, a *app.App, o Options) error {
	spec, err := o.request(a)
	if err != nil {
		return err
	}
	cfg, err := a.Config()
	if err != nil {
		return err
	}
	if o.BootTimeout == 0 {
		o.BootTimeout = cfg.Run.BootTimeout
	}
	on, p, err := a.Provider(ctx, o.On)
	if err != nil {
		return err
	}
	display := a.Display()
	defer display.Close()
	m, err := take(ctx, a, p, on, spec, o.BootTimeout, display)
	display.Close()
	if err != nil {
		return err
	}
	if a.JSON() {
		return table.Value(a.IO.Out, m)
	}
	_, err = fmt.Fprintln(a.IO.Out, m.Name)
	return err
}

// take makes the machine and lets it stay only once it is of use: a client that
// is killed before leaves a record that gc takes for what it is.
func take(ctx context.Context, a *app.App, p provider.Provider, on string, spec machine.Spec, boot time.Duration, display progress.Reporter) (machine.Machine, error) {
	l, err := a.Ledger()
	if err != nil {
		return machine.Machine{}, err
	}
	display.Phase(progress.Create, string(spec.Name))
	c, err := claim.Take(ctx, l, p, claim.Request{Provider: on, Spec: spec})
	if err != nil {
		return machine.Machine{}, err
	}
	display.Done("")
	if err := ready(ctx, a, p, c.Machine, boot, display); err != nil {
		return machine.Machine{}, giveBack(ctx, c, err)
	}
	if err := c.Keep(spec.Expires); err != nil {
		return machine.Machine{}, giveBack(ctx, c, err)
	}
	return c.Machine, c.Release(ctx)
}

// ready waits until the machine answers and runs our agent.
func ready(ctx context.Context, a *app.App, p provider.Provider, m machine.Machine, boot time.Duration, display progress.Reporter) error {
	display.Phase(progress.Boot, string(m.Name))
	h, err := a.Dial(ctx, p, m, boot)
	if err != nil {
		return err
	}
	defer h.Close()
	display.Done("")
	display.Phase(progress.Deliver, string(m.Name))
	if err := h.Call(ctx, wire.MethodInfo, wire.InfoRequest{}, nil); err != nil {
		return err
	}
	display.Done("")
	return nil
}

// giveBack deletes the machine; the first error stays the one that is told.
func giveBack(ctx context.Context, c *claim.Claim, err error) error {
	rerr := c.Release(ctx)
	if rerr == nil {
		return err
	}
	f := fault.New(fault.Of(err), "%w", err)
	var inner *fault.Error
	if errors.As(err, &inner) {
		f.Detail, f.Remedy = inner.Detail, inner.Remedy
	}
	f.Detail = strings.TrimLeft(f.Detail+"\n", "\n") + rerr.Error()
	return f
}
