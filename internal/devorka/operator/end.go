package operator

import (
	"context"
	"slices"

	"outrigger.dev/outrigger/internal/devorka/orkav1"
	"outrigger.dev/outrigger/internal/devorka/store"
)

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
