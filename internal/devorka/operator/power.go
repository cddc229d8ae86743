package operator

import (
	"context"
	"errors"
	"net/http"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"outrigger.dev/outrigger/internal/devorka/machines"
	"outrigger.dev/outrigger/internal/devorka/orkav1"
	"outrigger.dev/outrigger/internal/devorka/store"
)

// Power starts, stops or reverts a VM, on Intel nodes alone as with Orka. A VM that
// is stopped still reads Running.
func (o *Operator) Power(ctx context.Context, namespace, name, action string) error {
	obj, err := o.cfg.Store.Get(store.VMs, namespace, name)
	if err != nil {
		return err
	}
	if obj.Labels[orkav1.LabelArch] != orkav1.Amd {
		return denied(store.VMs, "%s is not supported on Apple silicon", action)
	}
	v, err := o.find(namespace, name)
	if err != nil {
		return apierrors.NewConflict(store.VMs.Resource(), name, err)
	}
	v.busy.Lock()
	defer v.busy.Unlock()
	v.mu.Lock()
	m, g := v.machine, v.gate
	v.mu.Unlock()
	if m == nil || g == nil {
		return apierrors.NewNotFound(store.VMs.Resource(), name)
	}
	switch action {
	case "start":
		return errors.Join(m.Start(ctx), g.open())
	case "stop":
		g.close()
		return m.Stop(ctx)
	case "revert":
		g.close()
		return errors.Join(o.revert(ctx, v, m, store.Spec[orkav1.VMSpec](obj)), g.open())
	case "suspend", "resume":
		return status(http.StatusNotImplemented, metav1.StatusReasonUnknown, "%s: the machines of outrigger dev orka cannot be suspended", action)
	}
	return apierrors.NewBadRequest("action must be one of start, stop, suspend, resume, revert, found \"" + action + "\"")
}

// revert makes the machine anew from its image; the gate leads to the new one.
func (o *Operator) revert(ctx context.Context, v *vm, m machines.Machine, spec *orkav1.VMSpec) error {
	disk, err := o.disk(spec.Image)
	if err != nil {
		return err
	}
	if err := m.Delete(ctx); err != nil {
		return err
	}
	fresh, err := o.cfg.Place.Create(ctx, machines.Spec{
		Name: string(v.uid), Disk: disk, CPUs: spec.CPU, MemoryMiB: int(v.demand.MemoryGiB * 1024), LoginAfter: time.Now(),
	})
	if err != nil {
		return err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.machine = fresh
	v.gate.lead(fresh.SSH)
	return nil
}
