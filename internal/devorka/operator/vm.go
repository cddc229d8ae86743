package operator

import (
	"errors"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"outrigger.dev/outrigger/internal/devorka/machines"
	"outrigger.dev/outrigger/internal/devorka/orkav1"
	"outrigger.dev/outrigger/internal/devorka/store"
)

// runs returns the machine, nil once it has been dismantled.
func (v *vm) runs() machines.Machine {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.machine
}

func (o *Operator) find(namespace, name string) (*vm, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, v := range o.vms {
		if v.namespace == namespace && v.name == name {
			v.mu.Lock()
			ready := v.machine != nil && !v.ending && !v.dead
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
	v.mu.Lock()
	m, g := v.machine, v.gate
	v.dead = true
	v.mu.Unlock()
	if m == nil || g == nil {
		return // deleted meanwhile
	}
	g.close()
	if err := m.Stop(o.ctx); err != nil {
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
		return
	}
	if !o.cfg.Doubts.DropFailed {
		return
	}
	if _, err := o.cfg.Store.Delete(store.VMs, v.namespace, v.name); err != nil && !apierrors.IsNotFound(err) {
		o.cfg.Log.Warn("failed vm not deleted", "vm", v.name, "error", err)
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
