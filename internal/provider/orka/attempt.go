package orka

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"sync"
	"time"

	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/machine"
	"outrigger.dev/outrigger/internal/provider/orka/orkaapi"
)

// An attempt is one way from the order to a VM that runs.
type attempt struct {
	p     *Provider
	d     door
	spec  machine.Spec
	order orkaapi.Deploy
	f     *follower
	start time.Time

	post    chan error // the answer to the request that is under way; nil: none is
	stopReq context.CancelFunc
	posting sync.WaitGroup
	posted  time.Time // when it was sent
	file    string    // that it was sent, for others to see
	sent    int
	lost    time.Time // since when requests have come to nothing; zero: they have not
	next    time.Time // when to ask again; zero: not
	ended   bool      // the server waits for the VM no longer
	taken   int       // answers that the name is taken, though nothing is there
	ours    bool      // there is a VM, and it is ours

	pending time.Time // since when the VM is Pending and has no node; zero: it is not
	running time.Time // since when it runs
	room    room
	looked  time.Time // when the nodes were asked
}

const (
	margin      = time.Minute // from the server's time limit to ours
	kubeLimit   = 5 * time.Second
	askNodes    = 10 * time.Second
	nodesEvery  = 10 * time.Second
	outageLimit = 30 * time.Second // how long a deploy is asked for again and again
	askAgain    = 500 * time.Millisecond
	glance      = time.Second // between looks at the clock
	takenMost   = 3
	lastWord    = 5 * time.Second // for the answer to the deploy of a VM that runs already
)

// ask sends the order. The server's time limit ends before ours, so that it
// answers before we stop listening.
func (a *attempt) ask(ctx context.Context) error {
	file, err := a.p.posting(a.order.Name)
	if err != nil {
		return err
	}
	a.file = file
	limit := a.p.cfg.DeployTimeout
	if end, ok := ctx.Deadline(); ok {
		limit = min(limit, time.Until(end)-margin)
	}
	a.order.Minutes = max(1, int(limit/time.Minute))
	over := time.Duration(a.order.Minutes)*time.Minute + margin
	if !a.d.Blocks() {
		// The object is made at once; a request that is cut off would leave it unknown whether it was.
		ctx, over = context.WithoutCancel(ctx), kubeLimit
	}
	ctx, cancel := context.WithTimeout(ctx, over)
	answer := make(chan error, 1)
	a.post, a.stopReq, a.posted, a.next = answer, cancel, time.Now(), time.Time{}
	a.sent++
	a.p.note(a.spec.Name, func(k *asking) { k.sent = true })
	order := a.order
	a.posting.Go(func() {
		defer cancel()
		answer <- a.d.Deploy(ctx, order)
	})
	return nil
}

// settlePost ends the request that is under way, and notes whether its fate is known.
func (a *attempt) settlePost() {
	if a.post == nil {
		return
	}
	seen := false
	if a.f != nil {
		s, before := a.f.latest()
		seen = before
		if s.there && s.vm.Phase == orkaapi.Running { // the answer is on its way
			select {
			case err := <-a.post:
				a.post <- err
			case <-time.After(lastWord):
			}
		}
	}
	if a.d.Blocks() {
		a.stopReq()
	}
	err := <-a.post
	a.posting.Wait()
	a.post = nil
	a.resolve(err, seen)
}

// resolve notes in the record whether a VM may yet appear: not if the server has
// answered, nor if this one request has been seen to come through.
func (a *attempt) resolve(err error, seen bool) {
	code := orkaapi.Code(err)
	answered := err == nil || code > 0 && code != http.StatusBadGateway && code != http.StatusGatewayTimeout
	if denied(code) && !a.ours {
		_ = os.Remove(a.file) // if it stays, a name that is taken is only noticed later
	}
	until := time.Time{}
	if !answered && (!seen || a.sent > 1) {
		until = time.Now().Add(settle).UTC()
	}
	if err := a.p.change(a.order.Name, func(r *record) { r.Unsure = until }); err != nil {
		a.p.log.Warn("record", "machine", a.spec.Name, "error", err)
	}
}

// denied tells whether a request made nothing: the server said no to it, and not because
// something took too long.
func denied(code int) bool {
	return code/100 == 4 && code != http.StatusRequestTimeout && code != http.StatusTooManyRequests
}

// awaitRunning waits until the VM runs and has an address.
func (a *attempt) awaitRunning(ctx context.Context) error {
	tick := time.NewTicker(glance)
	defer tick.Stop()
	for {
		if done, err := a.step(ctx); done || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err := <-a.post:
			a.posting.Wait()
			a.post = nil
			if err := a.answered(ctx, err); err != nil {
				return err
			}
		case <-a.f.news:
		case <-tick.C:
		}
	}
}

// step looks at where things stand.
func (a *attempt) step(ctx context.Context) (done bool, err error) {
	s, seen := a.f.latest()
	switch {
	case s.err != nil && !orkaapi.Passing(s.err), s.err != nil && time.Since(s.since) > outageLimit:
		return false, a.p.api.Fault("machine "+string(a.spec.Name), s.err)
	case s.err != nil || s.at.IsZero():
		return false, nil
	case !s.there && !a.next.IsZero() && time.Now().After(a.next):
		return false, a.ask(ctx)
	case !s.there && (!seen || a.post != nil && s.at.Before(a.posted)):
		if a.post == nil && a.next.IsZero() && time.Since(a.posted) > settle {
			return false, errVanished // the answer was yes, and nothing came
		}
		return false, nil
	case !s.there:
		return false, a.vanished(ctx)
	case s.vm.Deleting:
		return false, nil // it will vanish
	}
	if !a.ours {
		a.whose(s.vm)
		return false, nil
	}
	a.next = time.Time{}
	_, reachable := a.p.endpoint(s.vm)
	switch judge(a.scene(ctx, s.vm), reachable, a.p.cfg) {
	case up:
		return true, nil
	case broken:
		return false, a.broken(ctx, s.vm)
	case full:
		if a.room.some {
			a.room.words = "Orka gives its VM no node, though the nodes seem to have room"
		}
		return false, a.full(a.room.words)
	case late:
		return false, fault.New(fault.BootTimeout, "%s: machine %s: VM %s does not run after %s: it is %s on node %s",
			a.p.name, a.spec.Name, a.order.Name, time.Since(a.start).Round(time.Second), s.vm.Phase, s.vm.Node).
			WithRemedy("The first VM of an image on a node takes minutes; a longer limit is deployTimeout.")
	case addressless:
		return false, fault.New(fault.ProviderDown, "%s: machine %s: VM %s runs, but Orka gives no address and SSH port for it%s",
			a.p.name, a.spec.Name, a.order.Name, after(": ", s.vm.Warnings))
	case wait:
	}
	return false, nil
}

// scene gathers what judge wants to know.
func (a *attempt) scene(ctx context.Context, vm orkaapi.VM) scene {
	now := time.Now()
	if vm.Phase != orkaapi.Running {
		a.running = time.Time{}
	} else if a.running.IsZero() {
		a.running = now
	}
	sc := scene{vm: vm, waited: now.Sub(a.start), ended: a.ended}
	if !a.running.IsZero() {
		sc.running = now.Sub(a.running)
	}
	if vm.Phase == orkaapi.Running || vm.Phase == orkaapi.Failed || vm.Node != "" {
		a.pending = time.Time{}
		return sc
	}
	if a.pending.IsZero() {
		a.pending = now
	}
	sc.pending = now.Sub(a.pending)
	if sc.pending >= min(a.p.cfg.CapacityWait, 2*time.Second) && now.Sub(a.looked) >= min(a.p.cfg.CapacityWait, nodesEvery) {
		a.room, a.looked = a.p.roomNow(ctx, a.d, a.order), now
	}
	sc.room = a.room
	return sc
}

// vanished says why a VM that was there is not: the server deletes what missed its time,
// or somebody has deleted it.
func (a *attempt) vanished(ctx context.Context) error {
	if a.d.Blocks() && a.overAtServer() {
		return a.outOfTime(ctx, errors.New("it is gone after its time"))
	}
	return errVanished
}

// overAtServer tells whether the time that the server was given is over.
func (a *attempt) overAtServer() bool {
	given := time.Duration(a.order.Minutes) * time.Minute
	return a.sent > 0 && time.Since(a.posted) >= given-given/10
}

// outOfTime is the fault of a deploy whose time at the server was over.
func (a *attempt) outOfTime(ctx context.Context, err error) error {
	r := a.p.roomNow(ctx, a.d, a.order)
	if r.some {
		return fault.New(fault.BootTimeout, "%s: machine %s: Orka did not start its VM within %d minutes: %w", a.p.name, a.spec.Name, a.order.Minutes, err)
	}
	return a.full(r.words)
}

// answered deals with the answer to the order. Whatever it is, the VM is looked for by name.
func (a *attempt) answered(ctx context.Context, err error) error {
	vm, getErr := a.d.Get(ctx, a.order.Name)
	there := getErr == nil
	a.resolve(err, there)
	code := orkaapi.Code(err)
	switch {
	case err == nil:
		a.lost, a.ours = time.Time{}, true
		return nil
	case getErr != nil && !orkaapi.IsNotFound(getErr):
		return a.p.api.Fault("machine "+string(a.spec.Name), getErr)
	case there && denied(code) && !a.ours && !a.p.posted(a.order.Name) && !isNoted(vm, a.spec):
		return a.foreign(vm)
	case there:
		a.ours = true
		a.ended = code > 0 && a.overAtServer()
		a.p.log.Info("deploy failed, but the VM is there", "machine", a.spec.Name, "vm", a.order.Name, "error", err)
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	case code > 0 && a.d.Blocks() && a.overAtServer():
		return a.outOfTime(ctx, err)
	case code == http.StatusConflict:
		if a.taken++; a.taken >= takenMost {
			return fault.New(fault.NameTaken, "%s: machine %s: VM %s: %w", a.p.name, a.spec.Name, a.order.Name, err)
		}
	case orkaapi.Passing(err):
		if r := a.p.roomNow(ctx, a.d, a.order); code > 0 && r.known && !r.some {
			return a.full(fmt.Sprintf("%s (%v)", r.words, err))
		}
	default:
		return a.mistake(ctx, code, err)
	}
	if a.lost.IsZero() {
		a.lost = time.Now()
	}
	if time.Since(a.lost) > outageLimit {
		return a.p.api.Fault("machine "+string(a.spec.Name), err)
	}
	a.p.log.Info("deploy is asked for again", "machine", a.spec.Name, "vm", a.order.Name, "error", err)
	a.next = time.Now().Add(askAgain << min(a.sent, 4))
	return nil
}

// whose decides whether a VM that has appeared is ours. While our request is under way, its
// answer will tell.
func (a *attempt) whose(vm orkaapi.VM) {
	a.ours = a.ours || isNoted(vm, a.spec) || a.post == nil && a.p.posted(a.order.Name) || a.post != nil && time.Since(a.posted) > wonder
}

// wonder is how long a VM may be there while the answer to our own request for it is
// outstanding: a name that is taken is refused at once, a deploy takes as long as it takes.
const wonder = 2 * time.Second

// isNoted tells whether the VM's object says that it is the machine: Kubernetes' door.
func isNoted(vm orkaapi.VM, spec machine.Spec) bool {
	return vm.Annotations[noteOwner] == string(spec.Owner) && vm.Labels[labelMachine] == string(spec.Name)
}

// foreign is the fault of a VM of our name that we did not ask for. It is noted, so that
// nobody takes it for ours later.
func (a *attempt) foreign(vm orkaapi.VM) error {
	if err := a.p.change(vm.Name, func(r *record) { r.Foreign, r.Made = true, vm.Created }); err != nil {
		return err
	}
	return a.p.foreign(a.spec.Name, vm.Name)
}

func (p *Provider) foreign(name machine.Name, vm string) error {
	return fault.New(fault.NameTaken, "%s: machine %s: somebody else has made a VM called %s", p.name, name, vm)
}

// broken is the fault of a VM that Orka gave up.
func (a *attempt) broken(ctx context.Context, vm orkaapi.VM) error {
	words := vm.Error
	if words == "" {
		words = "Orka says no more"
	}
	err := errors.New(words)
	if unknown := a.p.imageUnknown(ctx, a.order, 0, err); unknown != nil {
		return unknown
	}
	return fault.New(fault.ProviderRefused, "%s: machine %s: VM %s has Failed: %w", a.p.name, a.spec.Name, a.order.Name, err)
}

func after(lead, s string) string {
	if s == "" {
		return ""
	}
	return lead + s
}
