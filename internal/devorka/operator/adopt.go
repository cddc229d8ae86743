package operator

import (
	"cmp"
	"context"
	"slices"

	"outrigger.dev/outrigger/internal/devorka/machines"
	"outrigger.dev/outrigger/internal/devorka/orkav1"
	"outrigger.dev/outrigger/internal/devorka/store"
)

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
			ports: Ports{Address: cmp.Or(st.IP, st.HostIP), SSH: *st.SSHPort, Screen: *st.ScreenSharePort},
		}
		close(v.done)
		if st.VNCPort != nil {
			v.ports.VNC = *st.VNCPort
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
