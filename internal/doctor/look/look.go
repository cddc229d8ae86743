// Package look gathers the facts that package doctor judges: it connects, asks and logs
// in, and changes nothing. What goes wrong is a fact too, so no look fails.
//
// Each check of a table has its look here, by name. A look fills in a part of the facts
// and may use what those before it have left; it is made only when the checks that
// its own needs came out well.
package look

import (
	"context"
	"log/slog"
	"net"
	"sync"
	"time"

	"outrigger.dev/outrigger/internal/doctor"
	"outrigger.dev/outrigger/internal/machine"
	"outrigger.dev/outrigger/internal/provider"
	"outrigger.dev/outrigger/internal/provider/orka"
	"outrigger.dev/outrigger/internal/reach"
	"outrigger.dev/outrigger/internal/reach/via"
)

// A Patient is a provider that is looked at.
type Patient struct {
	Name string
	Kind doctor.Kind
	Pool bool // Name is a pool
	Pod  bool // we are in a Pod
	// KeptBack says why there are no secrets: the token, logins; "": there are.
	KeptBack string

	Config   any               // of the provider's package, with its secrets
	Provider provider.Provider // opened; nil where that is not needed
	State    string            // folder in which machines of this computer are made
	Via      []machine.Via
	Tunnels  via.Tunnels
	Image    string // other than the provider's usual one
	Log      *slog.Logger
	Now      func() time.Time
}

// A Subject is one machine, or one host that exists already.
type Subject struct {
	Title    string // "machine mac-7k2q", "host mini"
	Endpoint machine.Endpoint
	OS       string   // GOOS, if it is known
	Session  string   // that the agent runs in, if it is known
	Slots    int      // of a host; 0: it has none
	Own      []string // names of the leases there that belong to the pool
	Inner    []string // of those that its claims have on machines that are such leases: they take no slot more
	KeptBack string   // why nobody can log in from here; "": somebody can
	Left     string   // why it is not looked at from here; "": it is
}

// How long one look may take.
const (
	dialLimit  = 5 * time.Second // a satellite's answer takes less than two
	loginLimit = 20 * time.Second
	askLimit   = 20 * time.Second
)

// A look fills in facts.
type look func(context.Context, *doctor.Facts)

// examine makes the checks of a table in their order, and reports each.
func examine(ctx context.Context, table []doctor.Check, f *doctor.Facts, looks map[string]look, report func(doctor.Result)) []doctor.Result {
	var done []doctor.Result
	for _, c := range doctor.For(table, f.Kind) {
		r, blocked := doctor.Blocked(c, *f, done)
		if !blocked {
			if see := looks[c.Name]; see != nil {
				see(ctx, f)
			}
			if ctx.Err() != nil {
				return done // what it saw is only that we were told to stop
			}
			r = doctor.Judge(c, *f)
		}
		done = append(done, r)
		report(r)
	}
	return done
}

// Place looks at where the provider's machines come from.
func (p Patient) Place(ctx context.Context, report func(doctor.Result)) []doctor.Result {
	f := p.placeFacts()
	looks := map[string]look{}
	switch c := p.Config.(type) {
	case orka.Config:
		o := &atOrka{p: p, cfg: c}
		f.Target = o.target()
		o.ways(looks)
	default:
		if !p.Pool { // what makes its machines is the controller's computer
			p.here(looks)
		}
	}
	return examine(ctx, doctor.Place, &f, looks, report)
}

// atOnce is how many machines are looked at side by side: one that is switched off takes as long as
// a connection may.
const atOnce = 8

// Machines looks at several machines at once, and reports them in their order.
func (p Patient) Machines(ctx context.Context, all []Subject, report func(doctor.Result)) {
	if len(all) == 1 { // as it comes
		p.Machine(ctx, all[0], report)
		return
	}
	found := make([][]doctor.Result, len(all))
	done := make([]chan struct{}, len(all))
	slots := make(chan struct{}, atOnce)
	var wg sync.WaitGroup
	for i, s := range all {
		done[i] = make(chan struct{})
		wg.Go(func() {
			defer close(done[i])
			slots <- struct{}{}
			defer func() { <-slots }()
			found[i] = p.Machine(ctx, s, func(doctor.Result) {})
		})
	}
	for i := range all {
		<-done[i]
		for _, r := range found[i] {
			report(r)
		}
	}
	wg.Wait()
}

func (p Patient) placeFacts() doctor.Facts {
	if p.Pool {
		return p.facts("pool " + p.Name)
	}
	return p.facts("provider " + p.Name)
}

// Machine looks at one machine.
func (p Patient) Machine(ctx context.Context, s Subject, report func(doctor.Result)) []doctor.Result {
	if s.Left != "" {
		return p.none(s.Title, s.Left, report)
	}
	f := p.facts(s.Title)
	f.Target = doctor.Target{Scheme: "ssh", Host: s.Endpoint.Host, Port: port(s.Endpoint), Via: via.Describe(s.Endpoint.Via)}
	for i, j := range s.Endpoint.Jumps {
		if i > 0 {
			f.Target.Jumps += ", "
		}
		f.Target.Jumps += "jump host " + j.Address()
	}
	m := &atMachine{p: p, s: s, ep: s.Endpoint}
	defer m.close()
	looks := map[string]look{}
	m.ways(looks)
	return examine(ctx, doctor.Machine, &f, looks, report)
}

func (p Patient) facts(subject string) doctor.Facts {
	return doctor.Facts{Subject: subject, Now: p.Now(), Pod: p.Pod, Provider: p.Name, Pool: p.Pool, Kind: p.Kind, KeptBack: p.KeptBack}
}

func port(ep machine.Endpoint) int {
	if ep.Port == 0 {
		return 22
	}
	return ep.Port
}

// options are how machines are connected to.
func (p Patient) options() reach.Options {
	return reach.Options{Timeout: loginLimit, Keepalive: -1, Tunnels: p.Tunnels, Log: p.Log}
}

// dialThrough is the way that steps lead.
func (p Patient) dialThrough(steps []machine.Via) (via.DialFunc, error) {
	return via.Through(new(net.Dialer).DialContext, steps, p.Tunnels)
}

// NoMachine tells of each check of a machine that there is none to look at.
func (p Patient) NoMachine(why string, report func(doctor.Result)) { p.none("machine", why, report) }

func (p Patient) none(subject, why string, report func(doctor.Result)) []doctor.Result {
	var all []doctor.Result
	for _, c := range doctor.For(doctor.Machine, p.Kind) {
		r := doctor.Result{Subject: subject, Check: c.Name, State: doctor.Skipped, Reason: doctor.NoMachine, Found: why}
		all = append(all, r)
		report(r)
	}
	return all
}

// Nothing tells of each check of the place that it is not looked at from here.
func (p Patient) Nothing(why string, report func(doctor.Result)) {
	f := p.placeFacts()
	for _, c := range doctor.For(doctor.Place, p.Kind) {
		report(doctor.Result{Subject: f.Subject, Check: c.Name, State: doctor.Skipped, Reason: doctor.NotHere, Found: why})
	}
}
