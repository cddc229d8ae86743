// Package operator does what the controllers of an Orka cluster do: it finds a node
// for each VirtualMachineInstance, makes the machine, opens its ports, keeps the
// status, makes images, and ends what was deleted.
//
// It reads its intent from the store alone, so either door may have written it. What it
// knows besides are the machines themselves.
package operator

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"outrigger.dev/outrigger/internal/devorka/inject"
	"outrigger.dev/outrigger/internal/devorka/machines"
	"outrigger.dev/outrigger/internal/devorka/orkav1"
	"outrigger.dev/outrigger/internal/devorka/store"
)

// A Config says what an Operator works with.
type Config struct {
	Store   *store.Store
	Place   machines.Place
	Faults  *inject.Faults
	Network *Network
	Times   Times
	Doubts  Doubts
	Log     *slog.Logger
}

// An Operator runs from New to Close.
type Operator struct {
	cfg  Config
	ctx  context.Context //nolint:containedctx // the operator's own life, which Close ends
	end  context.CancelFunc
	kick chan struct{}
	wg   sync.WaitGroup

	mu      sync.Mutex
	vms     map[types.UID]*vm
	order   map[types.UID]int // of arrival, which decides who is served first
	next    int
	quotas  map[string]int
	waiting bool // to look again
	lonely  *vm  // its ports are to be mixed up with those of the next VM
}

// A vm is the life of one VirtualMachineInstance that has been placed.
type vm struct {
	uid             types.UID
	namespace, name string
	node            Host
	demand          Demand
	cancel          context.CancelFunc
	done            chan struct{} // closed when boot has returned

	mu      sync.Mutex // the fields below
	ending  bool
	dead    bool // has crashed
	machine machines.Machine
	gate    *gate
	extra   []*gate // of reservedPorts
	hostIP  string
	ports   Ports
	claimed []int
	busy    sync.Mutex // held while it is saved or restarted
}

// New starts an operator. What an earlier process left of machines is taken over.
func New(cfg Config) (*Operator, error) {
	cfg.Doubts = cfg.Doubts.Defaults()
	ctx, end := context.WithCancel(context.Background()) // Close ends it
	o := &Operator{
		cfg: cfg, ctx: ctx, end: end, kick: make(chan struct{}, 1),
		vms: map[types.UID]*vm{}, order: map[types.UID]int{}, quotas: map[string]int{},
	}
	if err := o.adopt(ctx); err != nil {
		end()
		return nil, err
	}
	cfg.Faults.OnChange(o.wake)
	for _, k := range []*store.Kind{store.VMs, store.Nodes} {
		w, err := cfg.Store.Watch(k, "", "")
		if err != nil {
			end()
			return nil, err
		}
		o.wg.Go(func() {
			defer w.Close()
			for {
				if _, err := w.Next(ctx); err != nil {
					return
				}
				o.wake()
			}
		})
	}
	o.wg.Go(o.loop)
	return o, nil
}

func (o *Operator) wake() {
	select {
	case o.kick <- struct{}{}:
	default:
	}
}

// loop places and ends VMs whenever something has changed.
func (o *Operator) loop() {
	for {
		select {
		case <-o.kick:
			o.step()
		case <-o.ctx.Done():
			return
		}
	}
}

func (o *Operator) step() {
	all, _ := o.cfg.Store.List(store.VMs, "")
	o.mu.Lock()
	defer o.mu.Unlock()
	here := map[types.UID]bool{}
	for _, obj := range all {
		here[obj.UID] = true
		if _, ok := o.order[obj.UID]; !ok {
			o.next++
			o.order[obj.UID] = o.next
		}
	}
	for uid := range o.order {
		if !here[uid] {
			delete(o.order, uid)
		}
	}
	slices.SortFunc(all, func(a, b *store.Object) int { return o.order[a.UID] - o.order[b.UID] })
	hosts := o.hosts()
	for _, obj := range all {
		v, placed := o.vms[obj.UID]
		switch {
		case obj.DeletionTimestamp != nil && placed:
			o.beginEnd(v)
		case obj.DeletionTimestamp != nil:
			o.release(obj.Namespace, obj.Name)
		case !placed && store.Status[orkav1.VMStatus](obj).Phase == orkav1.Pending:
			o.place(obj, hosts)
		}
	}
	o.showNodes(hosts)
}

// place finds a host for obj and begins to make its machine. mu is held.
func (o *Operator) place(obj *store.Object, hosts []Host) {
	d := demand(obj)
	if _, gone := o.cfg.Faults.Hold(inject.NoCapacity, obj.Name, string(obj.UID)); gone {
		o.later()
		return
	}
	name, why := Place(d, hosts)
	if name == "" {
		o.cfg.Log.Debug("vm stays pending", "vm", obj.Name, "namespace", obj.Namespace, "why", why)
		return
	}
	i := slices.IndexFunc(hosts, func(h Host) bool { return h.Name == name })
	hosts[i].VMs++
	hosts[i].FreeCPUs -= d.CPUs
	hosts[i].FreeGiB -= d.MemoryGiB
	ctx, cancel := context.WithCancel(o.ctx)
	v := &vm{
		uid: obj.UID, namespace: obj.Namespace, name: obj.Name, node: hosts[i], demand: d,
		cancel: cancel, done: make(chan struct{}), hostIP: o.nodeIP(name),
	}
	o.vms[obj.UID] = v
	o.wg.Go(func() {
		defer close(v.done)
		o.boot(ctx, v, obj)
	})
}

// lookAgain is how long a fault that is armed for a number of times holds a VM back
// each time.
const lookAgain = 100 * time.Millisecond

// later looks again after a moment. mu is held.
func (o *Operator) later() {
	if o.waiting {
		return
	}
	o.waiting = true
	o.run(func() {
		_ = wait(o.ctx, lookAgain) // either way it is time to look
		o.mu.Lock()
		o.waiting = false
		o.mu.Unlock()
		o.wake()
	})
}

// hosts tells what is left of each node. mu is held.
func (o *Operator) hosts() []Host {
	nodes, _ := o.cfg.Store.List(store.Nodes, "")
	hosts := make([]Host, 0, len(nodes))
	for _, n := range nodes {
		spec, st := store.Spec[orkav1.NodeSpec](n), store.Status[orkav1.NodeStatus](n)
		hosts = append(hosts, Host{
			Name: n.Name, Namespace: spec.Namespace, Arch: n.Labels[orkav1.LabelArch], Tags: spec.Tags,
			Ready: st.Phase == orkav1.NodeReady, FreeCPUs: int(st.AllocatableCPU), FreeGiB: gibOf(st.AllocatableMemory),
		})
	}
	for _, v := range o.vms {
		if i := slices.IndexFunc(hosts, func(h Host) bool { return h.Name == v.node.Name }); i >= 0 {
			hosts[i].VMs++
			hosts[i].FreeCPUs -= v.demand.CPUs
			hosts[i].FreeGiB -= v.demand.MemoryGiB
		}
	}
	return hosts
}

func demand(obj *store.Object) Demand {
	s := store.Spec[orkav1.VMSpec](obj)
	d := Demand{Namespace: obj.Namespace, Arch: obj.Labels[orkav1.LabelArch], CPUs: s.CPU, MemoryGiB: orkav1.MemoryGiB(*s)}
	if s.NodeName != nil {
		d.Node = *s.NodeName
	}
	if s.Tag != nil {
		d.Tag = *s.Tag
	}
	d.TagRequired = s.TagRequired != nil && *s.TagRequired
	d.Packed = s.Scheduler != nil && *s.Scheduler == orkav1.SchedulerOther
	return d
}

// wait waits for that long, unless ctx ends before.
func wait(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// endLimit is how long the machines may take to end when the cluster does. Each
// takes milliseconds, or seconds where processes do not mind being asked to end.
const endLimit = time.Minute

// Close ends all machines, unless they are to be kept for the next process.
func (o *Operator) Close(keep bool) error {
	o.end()
	o.wg.Wait()
	ctx, cancel := context.WithTimeout(context.Background(), endLimit) // the operator's own is over
	defer cancel()
	var wg sync.WaitGroup
	var mu sync.Mutex
	var failed []error
	for _, v := range o.vms {
		wg.Go(func() {
			<-v.done
			if err := o.dismantle(ctx, v, keep); err != nil {
				mu.Lock()
				failed = append(failed, err)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return errors.Join(failed...)
}
