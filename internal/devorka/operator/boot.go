package operator

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
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
	if err := o.cache(v.node.Name, spec.Image, orkav1.CacheReady, ""); err != nil {
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
	ports, err := o.cfg.Network.take(v.hostIP, spec.HasConsole())
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
		m := v.runs()
		if m == nil {
			return // it has just ended
		}
		d, err := m.Dial(ctx, p.VM)
		if err != nil {
			return // nothing listens there
		}
		machines.Splice(ctx, c, d)
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
		st.HostIP, st.IP = v.hostIP, ports.Address
		st.SSHPort, st.ScreenSharePort = &ports.SSH, &ports.Screen
		if ports.VNC != 0 {
			st.VNCPort = &ports.VNC
		}
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
