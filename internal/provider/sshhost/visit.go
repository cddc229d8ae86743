package sshhost

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/machine"
	"outrigger.dev/outrigger/internal/reach"
	"outrigger.dev/outrigger/internal/reach/deliver"
	"outrigger.dev/outrigger/internal/version"
	"outrigger.dev/outrigger/internal/wire"
)

// A visit is a look at one host, and the connection for what follows.
type visit struct {
	host     host
	platform machine.Platform
	leases   []wire.Lease
	others   int   // leases that are not ours
	err      error // why there is nothing to see, or why no slot was to be had

	tried, noted bool // the host was asked; it is known to the memory whether it answered

	enough <-chan struct{} // closed when another host has given the answer that was wanted

	client *reach.Client
	conn   *wire.Conn
}

// visits are those to all hosts, in the order of the configuration.
type visits []*visit

// patience is how much longer the other hosts may take when one has given the
// answer that was wanted. One that is switched off would else hold up
// everything for as long as a connection may take.
const patience = 3 * time.Second

var errOutrun = fmt.Errorf("another host has answered %v ago", patience)

// visitAll visits all hosts at once. When it has seen one that is enough, it
// does not wait for long for the rest.
func (p *Provider) visitAll(ctx context.Context, enough func(*visit) bool) visits {
	return p.visitSome(ctx, func(string) bool { return true }, enough)
}

// visitSome visits the hosts that are wanted, all at once, as visitAll does.
func (p *Provider) visitSome(ctx context.Context, wanted func(host string) bool, enough func(*visit) bool) visits {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil) // the connections outlive it: it bounds their opening
	seen, enoughSeen := context.WithCancel(context.WithoutCancel(ctx))
	defer enoughSeen()
	var all visits
	var wg sync.WaitGroup
	for _, h := range p.hosts {
		if !wanted(h.name) {
			continue
		}
		v := &visit{host: h, enough: seen.Done()}
		all = append(all, v)
		wg.Go(func() {
			if err := v.persist(ctx, p, func() error { return v.open(ctx, p) }); err != nil {
				v.err = fmt.Errorf("host %s: %w", h.name, err)
				p.log.Debug("host does not answer", "host", h.name, "error", err)
				return
			}
			if enough(v) {
				enoughSeen()
			}
		})
	}
	wg.Wait()
	return all
}

// A connection that breaks is tried again, since all that is asked here may be
// asked twice; a host that is not there is soon known not to be.
const (
	attempts        = 8
	refusedAttempts = 4                      // where nobody listens
	retryWait       = 150 * time.Millisecond // doubled each time
)

// persist repeats f while the connection is what fails, and notes whether the host answers. One that breaks
// some connections is there: only after the last try does it count as silent.
func (v *visit) persist(ctx context.Context, p *Provider, f func() error) error {
	v.noted = false
	err := v.repeat(ctx, f)
	if ctx.Err() == nil && !v.noted { // else it was the caller who gave up
		p.memory.answered(v.host.name, err)
	}
	return err
}

func (v *visit) repeat(ctx context.Context, f func() error) error {
	for n, wait := 1, retryWait; ; n, wait = n+1, min(wait*2, patience) {
		begun := time.Now()
		err := f()
		if n == refusedAttempts && errors.Is(err, syscall.ECONNREFUSED) {
			return err
		}
		if n == attempts || !fault.Is(err, fault.Unreachable) || errors.Is(err, errOutrun) || errors.Is(err, errAway) || ctx.Err() != nil {
			return err
		}
		if time.Since(begun) > patience && !broke(err) { // it does not answer, and each try would take as long
			return err
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return err
		}
	}
}

// broke tells whether a connection that was there is what failed: then the host is there too, however slow it or the
// way to it is.
func broke(err error) bool {
	for _, end := range []error{io.EOF, io.ErrUnexpectedEOF, syscall.ECONNRESET, syscall.EPIPE} {
		if errors.Is(err, end) {
			return true
		}
	}
	return false
}

// again repeats f on a new connection when the one there is breaks.
func (v *visit) again(ctx context.Context, p *Provider, f func() error) error {
	return v.persist(ctx, p, func() error {
		select {
		case <-v.client.Done():
			if err := v.open(ctx, p); err != nil {
				return err
			}
		default:
		}
		err := f()
		select {
		case <-v.client.Done(): // then that is what is wrong, however it came out
			if err != nil {
				return fault.New(fault.Unreachable, "%w", err)
			}
		default:
		}
		return err
	})
}

// open enters the host when it is its turn. From then on it is waited for, and no
// longer than patience if it is not needed.
func (v *visit) open(ctx context.Context, p *Provider) error {
	return p.gate.enter(ctx, v.host.name, func() error {
		if !v.tried {
			if err := p.memory.away(v.host.name); err != nil {
				return err
			}
		}
		v.tried = true
		outer, begun := ctx, time.Now()
		ctx, cancel := context.WithCancelCause(ctx)
		opened := make(chan struct{})
		var waiting sync.WaitGroup
		waiting.Go(func() {
			if !ended(v.enough, opened) {
				return
			}
			timer := time.NewTimer(patience)
			defer timer.Stop()
			select {
			case <-timer.C:
				cancel(errOutrun)
			case <-opened:
			}
		})
		err := p.meet(ctx, v.host)
		if err == nil {
			err = v.enter(ctx, p.agents, p.reach)
		}
		close(opened)
		waiting.Wait()
		cancel(nil)
		// Who waits at the gate is told of a host that is silent before it enters.
		if outer.Err() == nil && time.Since(begun) > patience && !broke(err) {
			p.memory.answered(v.host.name, err)
			v.noted = true
		}
		return err
	})
}

// meet learns the keys of a host that has none in the configuration.
func (p *Provider) meet(ctx context.Context, h host) error {
	if p.learn == nil || len(h.endpoint.HostKeys) > 0 {
		return nil
	}
	return p.learn(ctx, h.endpoint.Address())
}

// ended waits for one of two ends, and tells whether it was the first.
func ended(first, second <-chan struct{}) bool {
	select {
	case <-first:
		return true
	case <-second:
		return false
	}
}

// enter logs in, starts the agent and asks for the leases.
func (v *visit) enter(ctx context.Context, agents deliver.Source, o reach.Options) (err error) {
	if v.client != nil {
		v.client.Close()
	}
	if v.client, err = reach.Dial(ctx, v.host.endpoint, o); err != nil {
		return err
	}
	conn, agent, err := deliver.Open(ctx, v.client, agents, v.host.endpoint.Root, "serve", func(c *wire.Conn) error {
		platform := machine.Platform{OS: runtime.GOOS, Arch: runtime.GOARCH}
		if err := c.GreetAs(version.Version, platform, v.host.endpoint.LeaseKey.Reveal()); err != nil {
			return err
		}
		return c.SendRequest(wire.MethodLeaseList, nil)
	})
	if err != nil {
		return err
	}
	v.conn, v.platform = conn, agent.Platform
	var list wire.LeaseList
	if err := v.during(ctx, func() error { return conn.RecvResponse(&list) }); err != nil {
		return err
	}
	v.leases, v.others = list.Leases, list.Others
	return nil
}

// during calls f, which speaks to the host, and ends that when ctx ends.
func (v *visit) during(ctx context.Context, f func() error) error {
	stop := context.AfterFunc(ctx, func() { v.client.Close() })
	defer stop()
	err := f()
	if err != nil && ctx.Err() != nil {
		return fault.New(fault.Unreachable, "gave up: %w", context.Cause(ctx))
	}
	return err
}

// busyPoll is how often a lease is asked for that is just being released.
const busyPoll = 50 * time.Millisecond

// acquire takes a slot. A lease of that name that is being released is waited for.
func (v *visit) acquire(ctx context.Context, p *Provider, req wire.LeaseAcquire) (wire.Lease, error) {
	req.Slots = v.host.slots
	for {
		var l wire.Lease
		err := v.again(ctx, p, func() error {
			return v.during(ctx, func() error { return v.conn.Call(wire.MethodLeaseAcquire, req, &l) })
		})
		if !fault.Is(err, fault.Busy) {
			return l, err
		}
		select {
		case <-time.After(busyPoll):
		case <-ctx.Done():
			return l, err
		}
	}
}

func (v *visit) release(ctx context.Context, p *Provider, name machine.Name) error {
	return v.again(ctx, p, func() error {
		return v.during(ctx, func() error {
			var got wire.LeaseReleased
			err := v.conn.Call(wire.MethodLeaseRelease, wire.LeaseRelease{Name: string(name)}, &got)
			if len(got.Left) > 0 {
				p.log.Warn("a lease left something on its host", "host", v.host.name, "machine", name, "left", got.Left)
			}
			return err
		})
	})
}

func (v *visit) lease(name machine.Name) (wire.Lease, bool) {
	for _, l := range v.leases {
		if l.Name == string(name) {
			return l, true
		}
	}
	return wire.Lease{}, false
}

func (v *visit) has(name machine.Name) bool {
	_, ok := v.lease(name)
	return ok
}

// room tells how many slots are free. An expired lease holds none: the host
// ends it when the next one comes; nor does one of which only the folder stays.
func (v *visit) room() int {
	room := v.host.slots - v.others
	now := time.Now()
	for _, l := range v.leases {
		if l.Takes(now) {
			room--
		}
	}
	return room
}

// find returns the lease of that name. Should two hosts have one, which takes
// two clients that create one machine at once while slots come and go, the first counts.
func (vs visits) find(name machine.Name) (*visit, wire.Lease, bool) {
	for _, v := range vs {
		if l, ok := v.lease(name); ok {
			return v, l, true
		}
	}
	return nil, wire.Lease{}, false
}

// byRoom returns the hosts that answer, that with most free slots first. Hosts
// that seem full come last and are asked too: only they know.
func (vs visits) byRoom() visits {
	var there visits
	for _, v := range vs {
		if v.err == nil {
			there = append(there, v)
		}
	}
	slices.SortStableFunc(there, func(a, b *visit) int { return b.room() - a.room() })
	return there
}

// err tells which hosts do not answer, nil if all do. Its kind is theirs if
// there is one host, since then it is the whole truth.
func (vs visits) err() error {
	var errs []error
	for _, v := range vs {
		if v.err != nil {
			errs = append(errs, v.err)
		}
	}
	if len(vs) == 1 || len(errs) == 0 {
		return errors.Join(errs...)
	}
	return fault.New(fault.ProviderDown, "%d of %d hosts do not answer: %w", len(errs), len(vs), oneLine{errs})
}

// unseen returns the hosts that do not answer.
func (vs visits) unseen() []machine.Endpoint {
	var all []machine.Endpoint
	for _, v := range vs {
		if v.err != nil {
			all = append(all, v.host.endpoint)
		}
	}
	return all
}

// noRoom tells why no host gave a slot.
func (vs visits) noRoom(provider string) error {
	kind := fault.ProviderDown
	var errs []error
	var detail []string
	for _, v := range vs {
		errs = append(errs, v.err)
		if fault.Is(v.err, fault.NoCapacity) {
			kind = fault.NoCapacity
		}
		var f *fault.Error
		if errors.As(v.err, &f) && f.Detail != "" {
			detail = append(detail, v.host.name+":\n"+f.Detail)
		}
	}
	if len(vs) == 1 && kind != fault.NoCapacity {
		return errs[0]
	}
	return fault.New(kind, "%s: no free slot: %w", provider, oneLine{errs}).WithDetail(strings.Join(detail, "\n"))
}

func (vs visits) close() {
	var wg sync.WaitGroup
	for _, v := range vs {
		if v.client != nil {
			wg.Go(func() { v.client.Close() })
		}
	}
	wg.Wait()
}

// oneLine joins errors on one line.
type oneLine struct{ errs []error }

func (o oneLine) Error() string {
	var all []string
	for _, err := range o.errs {
		all = append(all, err.Error())
	}
	return strings.Join(all, "; ")
}

func (o oneLine) Unwrap() []error { return o.errs }
