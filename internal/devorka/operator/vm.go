package operator

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"outrigger.dev/outrigger/internal/devorka/inject"
	"outrigger.dev/outrigger/internal/devorka/machines"
	"outrigger.dev/outrigger/internal/devorka/orkav1"
	"outrigger.dev/outrigger/internal/devorka/store"
)

// crashed is the text of a VM that does not come up, as clients have seen it.
const crashed = "Unable to deploy the VM as the underlying VM process has crashed."

// run does something that Close waits for.
func (o *Operator) run(f func()) { o.wg.Go(f) }

// boot makes the machine of a VM that was placed and tells how that went.
func (o *Operator) boot(ctx context.Context, v *vm, obj *store.Object) {
	err := o.make(ctx, v, obj)
	if ctx.Err() != nil {
		return // deleted, or the cluster ends; whoever cancelled dismantles
	}
	if err != nil {
		o.fail(v, err.Error())
		return
	}
	o.running(ctx, v)
}

func (o *Operator) make(ctx context.Context, v *vm, obj *store.Object) error {
	spec := store.Spec[orkav1.VMSpec](obj)
	took := o.cfg.Times.Uncached
	if o.cached(v.node.Name, spec.Image) {
		took = o.cfg.Times.Cached
	}
	if err := wait(ctx, took); err != nil {
		return err
	}
	disk, err := o.disk(spec.Image)
	if err != nil {
		return err
	}
	if err := o.cache(v.node.Name, spec.Image); err != nil {
		return err
	}
	if f, bad := o.cfg.Faults.VM(inject.Fails, v.name); bad {
		if f.Message != "" {
			return errors.New(f.Message)
		}
		return fmt.Errorf("%s", crashed) // a sentence that Orka's users see
	}
	m, err := o.cfg.Place.Create(ctx, machines.Spec{
		Name: string(v.uid), Disk: disk, CPUs: spec.CPU, MemoryMiB: int(v.demand.MemoryGiB * 1024),
		LoginAfter: time.Now().Add(o.cfg.Times.SSH + o.cfg.Times.Login),
	})
	if err != nil {
		o.cfg.Log.Warn("machine not made", "vm", v.name, "error", err)
		return fmt.Errorf("%s (%w)", crashed, err)
	}
	v.mu.Lock()
	v.machine = m
	v.mu.Unlock()
	ports, err := o.cfg.Network.take(v.hostIP)
	if err != nil {
		return err
	}
	v.mu.Lock()
	v.ports = ports
	v.gate = newGate(join(ports.Address, ports.SSH), m.SSH)
	v.mu.Unlock()
	return o.forwards(v, spec.ReservedPorts)
}

// forwards opens the reserved ports; what is taken already becomes a warning.
func (o *Operator) forwards(v *vm, reserved string) error {
	mappings, err := orkav1.ParsePorts(reserved)
	if err != nil {
		return err
	}
	var warnings []string
	for _, p := range mappings {
		if p.UDP {
			warnings = append(warnings, fmt.Sprintf("port %d/udp: only TCP is forwarded here", p.Node))
			continue
		}
		if err := o.forward(v, p); err != nil {
			warnings = append(warnings, fmt.Sprintf("port %d is not available on node %s", p.Node, v.node.Name))
		}
	}
	return o.status(v, func(st *orkav1.VMStatus) { st.PortWarnings = strings.Join(warnings, ", ") })
}

func (o *Operator) forward(v *vm, p orkav1.Mapping) error {
	if err := o.cfg.Network.claim(v.hostIP, p.Node); err != nil {
		return err
	}
	g := newGate(join(v.hostIP, p.Node), func(ctx context.Context, c net.Conn) {
		d, err := v.machine.Dial(ctx, p.VM)
		if err != nil {
			c.Close()
			return
		}
		Splice(ctx, c, d)
	})
	if err := g.open(); err != nil {
		o.cfg.Network.unclaim(v.hostIP, p.Node)
		return err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.extra, v.claimed = append(v.extra, g), append(v.claimed, p.Node)
	return nil
}

// running tells the world that the VM runs, and opens its SSH port when its time
// has come.
func (o *Operator) running(ctx context.Context, v *vm) {
	_, deaf := o.cfg.Faults.VM(inject.Deaf, v.name)
	if !deaf && o.cfg.Times.SSH == 0 {
		o.openSSH(v) // whoever hears that it runs finds it up
	}
	_, hidden := o.cfg.Faults.VM(inject.NoAddress, v.name)
	ports := v.ports // objects are shared, and so never point into what changes
	err := o.status(v, func(st *orkav1.VMStatus) {
		st.Phase, st.NodeName, st.Memory = orkav1.Running, v.node.Name, orkav1.Gi(v.demand.MemoryGiB)
		st.StartTime = time.Now().Unix()
		if hidden {
			return
		}
		st.HostIP = v.hostIP
		if o.cfg.Network.Bridge {
			st.IP = ports.Address
		}
		st.SSHPort, st.VNCPort, st.ScreenSharePort = &ports.SSH, &ports.VNC, &ports.Screen
	})
	if err != nil {
		return // deleted meanwhile
	}
	if f, hit := o.cfg.Faults.VM(inject.Dies, v.name); hit {
		o.run(func() {
			if wait(ctx, time.Duration(f.Delay)) == nil {
				o.crash(v)
			}
		})
	}
	if f, hit := o.cfg.Faults.VM(inject.Vanishes, v.name); hit {
		o.run(func() {
			if wait(ctx, time.Duration(f.Delay)) == nil {
				_, _ = o.cfg.Store.Delete(store.VMs, v.namespace, v.name) // gone already is as good
			}
		})
	}
	if deaf || o.cfg.Times.SSH == 0 || wait(ctx, o.cfg.Times.SSH) != nil {
		return
	}
	o.openSSH(v)
}

// openSSH opens the SSH port of a VM.
func (o *Operator) openSSH(v *vm) {
	o.mix(v)
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.ending || v.gate == nil {
		return
	}
	if err := v.gate.open(); err != nil {
		o.run(func() { o.fail(v, fmt.Sprintf("port %d is not available on node %s", v.ports.SSH, v.node.Name)) })
	}
}

// mix makes the SSH ports of v and of another VM lead to each other's, if that is
// to happen to v, or was to happen to a VM that had no other to be mixed up with.
func (o *Operator) mix(v *vm) {
	_, hit := o.cfg.Faults.VM(inject.Mixed, v.name)
	o.mu.Lock()
	defer o.mu.Unlock()
	other := o.lonely
	if !hit && other == nil {
		return
	}
	if other == nil {
		for _, w := range o.vms {
			w.mu.Lock()
			if w != v && !w.ending && w.gate != nil {
				other = w
			}
			w.mu.Unlock()
		}
	}
	if other == nil {
		o.lonely = v
		return
	}
	if other == v {
		return
	}
	o.lonely = nil
	other.mu.Lock()
	g := other.gate
	other.mu.Unlock()
	if g != nil {
		swap(v.gate, g)
	}
}

// Mix exchanges the SSH ports of two VMs, as Orka 3.0.3 did.
func (o *Operator) Mix(namespace, one, other string) error {
	a, err := o.find(namespace, one)
	if err != nil {
		return err
	}
	b, err := o.find(namespace, other)
	if err != nil {
		return err
	}
	gateOf := func(v *vm) *gate {
		v.mu.Lock()
		defer v.mu.Unlock()
		return v.gate
	}
	x, y := gateOf(a), gateOf(b)
	if x == nil || y == nil || x == y {
		return fmt.Errorf("%s and %s are not two running VMs", one, other)
	}
	swap(x, y)
	return nil
}

func (o *Operator) find(namespace, name string) (*vm, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, v := range o.vms {
		if v.namespace == namespace && v.name == name {
			v.mu.Lock()
			ready := v.machine != nil && !v.ending
			v.mu.Unlock()
			if ready {
				return v, nil
			}
		}
	}
	return nil, fmt.Errorf("VM %s is not running", name)
}

// Crash ends a VM's machine as a crash of its process would.
func (o *Operator) Crash(namespace, name string) error {
	v, err := o.find(namespace, name)
	if err != nil {
		return err
	}
	o.crash(v)
	return nil
}

func (o *Operator) crash(v *vm) {
	v.busy.Lock()
	defer v.busy.Unlock()
	if v.gate != nil {
		v.gate.close()
	}
	if err := v.machine.Stop(o.ctx); err != nil {
		o.cfg.Log.Warn("machine does not stop", "vm", v.name, "error", err)
	}
	o.fail(v, "The VM process has crashed.")
}

func (o *Operator) fail(v *vm, why string) {
	err := o.status(v, func(st *orkav1.VMStatus) {
		*st = orkav1.VMStatus{Phase: orkav1.Failed, ErrorMessage: why, NodeName: v.node.Name, PortWarnings: st.PortWarnings}
	})
	if err != nil {
		o.cfg.Log.Debug("vm failed and is gone", "vm", v.name, "why", why)
	}
}

var errReplaced = errors.New("another VM has the name")

// status changes the status of the VM, if it is still the same VM.
func (o *Operator) status(v *vm, change func(*orkav1.VMStatus)) error {
	_, err := o.cfg.Store.Update(store.VMs, v.namespace, v.name, func(obj *store.Object) error {
		if obj.UID != v.uid {
			return errReplaced
		}
		change(store.Status[orkav1.VMStatus](obj))
		return nil
	})
	return err
}

// beginEnd ends a VM whose deletion was asked for. mu is held.
func (o *Operator) beginEnd(v *vm) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.ending {
		return
	}
	v.ending = true
	v.cancel()
	if o.lonely == v {
		o.lonely = nil
	}
	o.run(func() {
		<-v.done
		if wait(o.ctx, o.cfg.Times.End) != nil {
			return // Close dismantles it
		}
		if err := o.dismantle(o.ctx, v, false); err != nil {
			o.cfg.Log.Warn("machine does not end", "vm", v.name, "error", err)
			return // it stays and is shown as being deleted
		}
		o.mu.Lock()
		delete(o.vms, v.uid)
		o.mu.Unlock()
		o.release(v.namespace, v.name)
		o.wake() // somebody may wait for the room
	})
}

// release lets an object go whose machine has ended.
func (o *Operator) release(namespace, name string) {
	_, err := o.cfg.Store.Update(store.VMs, namespace, name, func(obj *store.Object) error {
		obj.Finalizers = slices.DeleteFunc(slices.Clone(obj.Finalizers), func(f string) bool { return f == orkav1.Finalizer })
		return nil
	})
	if err != nil {
		o.cfg.Log.Debug("vm is gone", "vm", name, "error", err)
	}
}

// dismantle closes what leads to a machine and ends it. A machine that is kept goes
// on without its ports.
func (o *Operator) dismantle(ctx context.Context, v *vm, keep bool) error {
	v.busy.Lock()
	defer v.busy.Unlock()
	v.mu.Lock()
	m, gates, ports, claimed := v.machine, append(slices.Clone(v.extra), v.gate), v.ports, v.claimed
	v.extra, v.gate, v.claimed, v.ports = nil, nil, nil, Ports{}
	if !keep {
		v.machine = nil
	}
	v.mu.Unlock()
	var err error
	if m != nil && !keep {
		if err = m.Delete(ctx); err != nil {
			v.mu.Lock()
			v.machine = m
			v.mu.Unlock()
		}
	}
	for _, g := range gates {
		if g != nil {
			g.close()
		}
	}
	if ports != (Ports{}) {
		o.cfg.Network.give(v.hostIP, ports)
	}
	for _, p := range claimed {
		o.cfg.Network.unclaim(v.hostIP, p)
	}
	return err
}

// adopt takes over the machines of an earlier process on the same state.
func (o *Operator) adopt(ctx context.Context) error {
	all, _ := o.cfg.Store.List(store.VMs, "")
	var keep []string
	for _, obj := range all {
		st := store.Status[orkav1.VMStatus](obj)
		if st.Phase != orkav1.Running || obj.DeletionTimestamp != nil || st.SSHPort == nil {
			continue
		}
		m, err := o.cfg.Place.Attach(ctx, machines.Spec{Name: string(obj.UID)})
		if err != nil {
			o.cfg.Log.Warn("machine is gone", "vm", obj.Name, "error", err)
			continue
		}
		_, cancel := context.WithCancel(o.ctx) // there is nothing left to boot
		v := &vm{
			uid: obj.UID, namespace: obj.Namespace, name: obj.Name, demand: demand(obj), node: Host{Name: st.NodeName},
			cancel: cancel, done: make(chan struct{}), hostIP: st.HostIP, machine: m,
			ports: Ports{Address: st.HostIP, SSH: *st.SSHPort, Screen: *st.ScreenSharePort, VNC: *st.VNCPort},
		}
		close(v.done)
		if st.IP != "" {
			v.ports.Address = st.IP
		}
		o.cfg.Network.keep(v.hostIP, v.ports)
		v.gate = newGate(join(v.ports.Address, v.ports.SSH), m.SSH)
		o.vms[obj.UID] = v
		keep = append(keep, string(obj.UID))
		if err := v.gate.open(); err != nil {
			o.cfg.Log.Warn("port is taken", "vm", obj.Name, "error", err)
		}
		if err := o.forwards(v, store.Spec[orkav1.VMSpec](obj).ReservedPorts); err != nil {
			o.cfg.Log.Warn("ports not forwarded", "vm", obj.Name, "error", err)
		}
	}
	for _, obj := range all {
		if slices.Contains(keep, string(obj.UID)) || store.Status[orkav1.VMStatus](obj).Phase != orkav1.Running {
			continue
		}
		_, err := o.cfg.Store.Update(store.VMs, obj.Namespace, obj.Name, func(obj *store.Object) error {
			obj.Status = &orkav1.VMStatus{Phase: orkav1.Failed, ErrorMessage: "The VM process has crashed."}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return o.cfg.Place.Sweep(ctx, keep)
}

// Splice joins two connections until both directions are over, or ctx is.
func Splice(ctx context.Context, a, b net.Conn) {
	stop := context.AfterFunc(ctx, func() { a.Close(); b.Close() })
	defer stop()
	var wg sync.WaitGroup
	wg.Go(func() { pour(b, a) })
	pour(a, b)
	wg.Wait()
	a.Close()
	b.Close()
}
