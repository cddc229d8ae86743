// Package cp is outrigger vm cp.
package cp

import (
	"context"
	"fmt"
	"runtime"
	"strings"

	"github.com/spf13/cobra"

	"outrigger.dev/outrigger/internal/cli/app"
	"outrigger.dev/outrigger/internal/cli/progress"
	"outrigger.dev/outrigger/internal/cli/table"
	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/host"
	"outrigger.dev/outrigger/internal/machine"
	"outrigger.dev/outrigger/internal/parcel"
	"outrigger.dev/outrigger/internal/wire"
)

// Options are the command's arguments: one End of two is on a machine.
type Options struct{ From, To End }

// An End is a place to copy from or to.
type End struct {
	Machine string // "": here
	Name    string // of the file or folder
}

// New returns the command.
func New(a *app.App) *cobra.Command {
	return &cobra.Command{
		Use:   "cp SOURCE TARGET",
		Short: "Copy files between here and a machine",
		Long: `Copy a file or a folder to or from a machine; NAME:PATH is a path on the machine
NAME, from its user's home folder if it is relative. As with cp -r, a TARGET that
is a folder receives SOURCE under its own name; anything else is the name to give it.
SOURCE/. means what is in the folder.

Contents, modes, times and links are kept; links are not followed. Nothing is written
outside of the TARGET, and there under no other name than the SOURCE's: a machine may
choose names only in a folder that is copied, so SOURCE/. is for a TARGET that holds
nothing else of worth. A file here whose name holds a colon is written ./a:b.`,
		Example: `  outrigger vm cp app.tar box:
  outrigger vm cp box:/var/log/syslog .
  outrigger vm cp src/. box:work`,
		Args: app.Args("SOURCE", "TARGET"),
		RunE: app.Run(func(ctx context.Context, args []string) error {
			return run(ctx, a, Options{From: parseEnd(args[0]), To: parseEnd(args[1])})
		}),
	}
}

// parseEnd reads NAME:PATH; what cannot be the name of a machine is a path here.
func parseEnd(s string) End {
	name, path, ok := strings.Cut(s, ":")
	if _, err := machine.ParseName(name); !ok || err != nil {
		return End{Name: s}
	}
	if runtime.GOOS == "windows" && len(name) == 1 {
		return End{Name: s} // C:\ is a drive
	}
	if path == "" {
		path = "~"
	}
	return End{Machine: name, Name: path}
}

func (o Options) check() error {
	switch {
	case o.From.Machine == "" && o.To.Machine == "":
		return fault.New(fault.Usage, "vm cp: neither %q nor %q is on a machine: want NAME:PATH for one", o.From.Name, o.To.Name)
	case o.From.Machine != "" && o.To.Machine != "":
		return fault.New(fault.Usage, "vm cp: both ends are on machines: want one of them here")
	case o.From.Name == "-" || o.To.Name == "-":
		return fault.New(fault.Usage, "vm cp: standard input and output are not copied").WithRemedy("Use a shell: outrigger vm shell NAME -- 'cat >FILE'")
	case o.From.Name == "" || o.To.Name == "":
		return fault.New(fault.Usage, "vm cp: an empty path")
	}
	return nil
}

func run(ctx context.Context, a *app.App, o Options) (err error) {
	if err := o.check(); err != nil {
		return err
	}
	c, h, err := a.Borrow(ctx, o.From.Machine+o.To.Machine)
	if err != nil {
		return err
	}
	defer func() { err = app.First(err, c.Release(ctx)) }()
	defer h.Close()

	display := a.Display()
	defer display.Close()
	display.Phase(progress.Copy, string(c.Machine.Name))
	report, err := copyOver(ctx, h, o, display)
	if err != nil {
		return err
	}
	display.Done(progress.Count(report.Files, "file") + ", " + progress.Bytes(report.Bytes))
	for _, s := range report.Skipped {
		display.Warn(fmt.Sprintf("not copied: %s", s))
	}
	if a.JSON() {
		return table.Value(a.IO.Out, report)
	}
	return nil
}

func copyOver(ctx context.Context, h *host.Host, o Options, display progress.Reporter) (parcel.Report, error) {
	method, name := parcel.MethodPack, o.From.Name
	var total parcel.Report // of what comes from a machine it is not known beforehand
	if o.To.Machine != "" {
		method, name = parcel.MethodUnpack, o.To.Name
		var err error
		if total, err = parcel.Measure(ctx, o.From.Name); err != nil {
			return parcel.Report{}, fault.New(fault.LocalFile, "copy: %w", err)
		}
	}
	opts := parcel.Options{Side: fault.LocalFile, Asked: o.From.Name, Progress: func(r parcel.Report) {
		display.Progress(progress.Amount{Files: r.Files, FilesTotal: total.Files, Bytes: r.Bytes, BytesTotal: total.Bytes})
	}}
	conn, err := h.Open(ctx, host.Serve, func(c *wire.Conn) error {
		return c.SendRequest(method, parcel.Request{Name: name})
	})
	if err != nil {
		return parcel.Report{}, err
	}
	defer conn.Close()
	if o.To.Machine != "" {
		return parcel.Put(ctx, conn, o.From.Name, opts)
	}
	return parcel.Get(ctx, conn, o.To.Name, opts)
}
