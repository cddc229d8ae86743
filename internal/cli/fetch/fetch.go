// Package fetch is outrigger fetch: it gets what of a run's results is not here yet.
package fetch

import (
	"context"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"outrigger.dev/outrigger/internal/cli/app"
	"outrigger.dev/outrigger/internal/cli/kube"
	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/ledger"
)

// Options are the command's flags and arguments.
type Options struct {
	Run   string   // "": list what there is
	Paths []string // relative to the run's folder, with forward slashes; none: everything
	To    string   // another folder to bring them to
	Keep  bool

	Claim     string // of a Pod, instead of Run
	Namespace string
	Cluster   kube.Flags
}

// New returns the command.
func New(a *app.App) *cobra.Command {
	var o Options
	cmd := &cobra.Command{
		Use:   "fetch [RUN | --claim NAME -n NAMESPACE] [PATH...]",
		Short: "Get what of a run's results is not here yet",
		Long: `When a command ran and not all that it wrote could be brought here, or the client
was killed or lost its machine, the results stay on the machine for a while (run.retain
in the configuration, 24h). Without RUN the runs are listed of which there is
something to get.

With RUN it joins the run if that still goes on, prints the rest of what it says, and
waits for its end; ending fetch leaves the run alone. Then it brings the files back, as
"outrigger run" would have, or only those at PATHs, relative to the run's folder. What
was excluded from the run is not brought. When everything is here the machine is given
back, unless --keep says otherwise; until then fetch may be repeated.

With --to the files are put into another folder, which is empty or is made: nothing
there can be in their way. The run's own folder and the machine stay as they are.

With --claim it gets what a Pod left on its machine, while its claim keeps that: the
Pod's volumes as its commands left them, each at its path in the containers below the
folder --to, which is by default one here of the claim's name. PATHs are paths in the
containers. It reads the claim, its Pod and its Secret, and must reach the machine.

The exit code is 0 when all that was asked for is here, however the command ended.`,
		Example: `  outrigger fetch
  outrigger fetch run-4ktnrz7q
  outrigger fetch run-4ktnrz7q build/app.tar reports
  outrigger fetch run-4ktnrz7q --to /tmp/results
  outrigger fetch --claim test-pod-x7k2p -n builds /workspace/source/build`,
		RunE: app.Run(func(ctx context.Context, args []string) error {
			if o.Claim != "" {
				o.Paths = args
				return fromClaim(ctx, a, o)
			}
			if len(args) == 0 {
				return list(a)
			}
			o.Run, o.Paths = args[0], args[1:]
			return run(ctx, a, o)
		}),
		ValidArgsFunction: complete(a),
	}
	cmd.Flags().StringVar(&o.To, "to", "", "empty `folder` to bring the files to instead of the run's own")
	cmd.Flags().BoolVar(&o.Keep, "keep", false, "keep the machine also when everything is here")
	cmd.Flags().StringVar(&o.Claim, "claim", "", "`name` of the MachineClaim that keeps a Pod's machine")
	cmd.Flags().StringVarP(&o.Namespace, "namespace", "n", "default", "`name` of the claim's namespace")
	o.Cluster.Add(cmd.Flags())
	return cmd
}

// check settles the paths, and the folder to bring them to.
func (o *Options) check() error {
	for i, p := range o.Paths {
		if !filepath.IsLocal(p) {
			return fault.New(fault.Usage, "fetch: path %q: want one within the run's folder, relative to it", p)
		}
		if o.Paths[i] = filepath.ToSlash(filepath.Clean(p)); o.Paths[i] == "." {
			o.Paths = nil // everything
			break
		}
	}
	if o.To == "" {
		return nil
	}
	if err := os.MkdirAll(o.To, 0o777); err != nil {
		return fault.New(fault.LocalFile, "fetch: --to: %w", err)
	}
	names, err := os.ReadDir(o.To)
	if err != nil {
		return fault.New(fault.LocalFile, "fetch: --to: %w", err)
	}
	if len(names) > 0 {
		return fault.New(fault.Usage, "fetch: --to %s: holds %q, want an empty folder", o.To, names[0].Name())
	}
	if o.To, err = filepath.Abs(o.To); err == nil {
		o.To, err = filepath.EvalSymlinks(o.To)
	}
	if err != nil {
		return fault.New(fault.LocalFile, "fetch: --to: %w", err)
	}
	return nil
}

// find holds the run that is called text: by its own name, or that of the machine if it has one run.
func find(l *ledger.Ledger, text string) (*ledger.RunEntry, error) {
	entry, err := l.HoldRun(text)
	if !fault.Is(err, fault.UnknownRun) {
		return entry, err
	}
	recs, lerr := l.Runs()
	if lerr != nil {
		return nil, lerr
	}
	var names, there []string
	for _, r := range recs {
		names = append(names, r.ID)
		if string(r.Machine) == text {
			there = append(there, r.ID)
		}
	}
	if len(there) == 1 {
		return l.HoldRun(there[0])
	}
	return nil, fault.New(fault.UnknownRun, "run %q: there is nothing to be fetched of it%s", text, app.DidYouMean(text, names))
}
