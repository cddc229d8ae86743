// Package list is outrigger vm list.
package list

import (
	"context"
	"errors"
	"fmt"
	"sort"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"outrigger.dev/outrigger/internal/cli/app"
	"outrigger.dev/outrigger/internal/cli/table"
	"outrigger.dev/outrigger/internal/ledger"
	"outrigger.dev/outrigger/internal/machine"
	"outrigger.dev/outrigger/internal/provider"
)

// listLimit bounds how long one provider may take to answer: a guess, longer
// than a login through two jump hosts and shorter than anybody's patience.
const listLimit = 20 * time.Second

// Options are the command's flags.
type Options struct {
	On  []string
	All bool
}

// An Item is one machine under --output json.
type Item struct {
	machine.Machine
	Keep   bool `json:"keep"`             // made to stay
	Client int  `json:"client,omitempty"` // process that asked for it, 0: not this installation
	// Results are of runs that left some on the machine that may be nowhere else.
	Results []Result `json:"results,omitempty"`
}

// A Result is what a run left on its machine.
type Result struct {
	Run   string    `json:"run"`
	Until time.Time `json:"until"` // they stay until then, and the machine with them
	Fetch string    `json:"fetch"` // the command that gets them
}

// New returns the command.
func New(a *app.App) *cobra.Command {
	var o Options
	cmd := &cobra.Command{
		Use:     "list",
		Aliases: []string{"ls"},
		Short:   "List machines",
		Long: `List the machines that this installation of Outrigger made, also those that a
run uses right now. One whose state is Gone is known here and not at its
provider. Providers that do not answer are named, the others listed all the
same; the exit code is 125 then.

A machine with results of a run that did not all come back is kept for them: then
KEEP says results, and RESULTS the command that gets them and how long they stay.`,
		Example: `  outrigger vm list
  outrigger vm list --on qemu --output json`,
		Args: app.Args(),
		RunE: app.Run(func(ctx context.Context, _ []string) error { return run(ctx, a, o) }),
	}
	cmd.Flags().StringArrayVar(&o.On, "on", nil, "only machines of this `provider`, may be repeated")
	cmd.Flags().BoolVarP(&o.All, "all", "a", false, "also those of other installations")
	a.CompleteFlag(cmd, "on", a.CompleteProviders)
	return cmd
}

func run(ctx context.Context, a *app.App, o Options) error {
	cfg, err := a.Config()
	if err != nil {
		return err
	}
	l, err := a.Ledger()
	if err != nil {
		return err
	}
	owner, err := l.Owner()
	if err != nil {
		return err
	}
	if o.All {
		owner = ""
	}
	names := cfg.Names()
	if len(o.On) > 0 {
		names = o.On
	}
	machines, answered, errs := ask(ctx, a, names, owner)
	recs, err := l.List()
	errs = append(errs, err)
	items := join(machines, recs, answered)
	runs, err := a.Fetchable()
	errs = append(errs, err)
	addResults(items, runs)
	if err := show(a, items); err != nil {
		return err
	}
	return errors.Join(errs...)
}

// addResults notes what runs have left on the machines.
func addResults(items []Item, runs []ledger.Run) {
	for i := range items {
		for _, r := range runs {
			if r.Machine == items[i].Name {
				items[i].Results = append(items[i].Results, Result{Run: r.ID, Until: r.Until, Fetch: "outrigger fetch " + r.ID})
			}
		}
	}
}

// gone is the state of a machine that the ledger knows and its provider does
// not: it was deleted behind our back, or ended with this computer.
const gone machine.State = "Gone"

// ask lists all providers at once: one that is slow holds up no other. answered
// are those that said all they know.
func ask(ctx context.Context, a *app.App, names []string, owner machine.Owner) (machines []machine.Machine, answered map[string]bool, errs []error) {
	answered = map[string]bool{}
	var mu sync.Mutex
	var wg sync.WaitGroup
	for _, name := range names {
		_, p, err := a.Provider(ctx, name)
		if err != nil {
			mu.Lock()
			errs = append(errs, err)
			mu.Unlock()
			continue
		}
		wg.Go(func() {
			found, err := listOne(ctx, p, owner)
			mu.Lock()
			defer mu.Unlock()
			machines = append(machines, found...)
			answered[name] = err == nil
			if err != nil {
				errs = append(errs, app.At(name, err))
			}
		})
	}
	wg.Wait()
	return machines, answered, errs
}

func listOne(ctx context.Context, p provider.Provider, owner machine.Owner) ([]machine.Machine, error) {
	ctx, cancel := context.WithTimeout(ctx, listLimit)
	defer cancel()
	return p.List(ctx, owner)
}

// join adds what only the ledger knows.
func join(machines []machine.Machine, recs []ledger.Record, answered map[string]bool) []Item {
	known := map[machine.Name]ledger.Record{}
	for _, r := range recs {
		known[r.Name] = r
	}
	items := make([]Item, 0, len(machines))
	for _, m := range machines {
		r, ok := known[m.Name]
		if ok && !r.Expires.IsZero() {
			m.Expires = r.Expires // a person may have set another since
		}
		items = append(items, Item{Machine: m, Keep: r.Keep, Client: r.Client})
		delete(known, m.Name)
	}
	for _, r := range known {
		if r.Keep && answered[r.Provider] { // without Keep it may be about to be made
			m := machine.Machine{Name: r.Name, Provider: r.Provider, Owner: r.Owner, State: gone, Image: r.Image, Created: r.Created, Expires: r.Expires}
			items = append(items, Item{Machine: m, Keep: r.Keep, Client: r.Client})
		}
	}
	sort.Slice(items, func(i, j int) bool {
		x, y := items[i], items[j]
		return x.Provider < y.Provider || x.Provider == y.Provider && x.Name < y.Name
	})
	return items
}

func show(a *app.App, items []Item) error {
	if a.JSON() {
		return table.JSON(a.IO.Out, items)
	}
	now := a.IO.Now()
	t := table.Table{Columns: []string{"NAME", "PROVIDER", "STATE", "PLATFORM", "IMAGE", "KEEP", "AGE", "EXPIRES", "RESULTS"}}
	for _, m := range items {
		platform := ""
		if m.Platform != (machine.Platform{}) {
			platform = m.Platform.String()
		}
		keep := ""
		switch {
		case m.Keep:
			keep = "yes"
		case len(m.Results) > 0:
			keep = "results"
		}
		t.Add(string(m.Name), m.Provider, string(m.State), platform, m.Image, keep, table.Age(m.Created, now), table.Until(m.Expires, now),
			results(m.Results, now))
	}
	return t.Write(a.IO.Out)
}

// results says how to get what is left on a machine, and how long it is there.
func results(all []Result, now time.Time) string {
	var texts []string
	for _, r := range all {
		texts = append(texts, fmt.Sprintf("%s (for %s)", r.Fetch, table.Until(r.Until, now)))
	}
	return strings.Join(texts, "; ")
}
