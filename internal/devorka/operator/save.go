package operator

import (
	"context"
	"errors"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"outrigger.dev/outrigger/internal/devorka/machines"
	"outrigger.dev/outrigger/internal/devorka/orkav1"
	"outrigger.dev/outrigger/internal/devorka/store"
)

// CommitVM overwrites the image that a VM was made from with the VM.
func (o *Operator) CommitVM(namespace, name, description string) (image string, err error) {
	v, err := o.find(namespace, name)
	if err != nil {
		return "", apierrors.NewNotFound(store.VMs.Resource(), name)
	}
	obj, err := o.cfg.Store.Get(store.VMs, namespace, name)
	if err != nil {
		return "", err
	}
	image = store.Spec[orkav1.VMSpec](obj).Image
	if orkav1.IsReference(image) {
		return "", denied(store.Images, "a VM of an OCI image cannot be committed, push it instead")
	}
	_, err = o.cfg.Store.Update(store.Images, orkav1.DefaultNamespace, image, func(img *store.Object) error {
		store.Status[orkav1.ImageStatus](img).State = orkav1.ImageUpdating
		if description != "" {
			img.Annotations = with(img.Annotations, orkav1.NoteDescribed, description)
		}
		return nil
	})
	if err != nil {
		return "", err
	}
	o.run(func() {
		o.fill(image, func(ctx context.Context, d machines.Disk) error { return o.saveVM(ctx, v, d) })
	})
	return image, nil
}

// slowly does something in the time that Orka takes for it.
func (o *Operator) slowly(ctx context.Context, f func() error) error {
	if err := wait(ctx, o.cfg.Times.Save); err != nil {
		return err
	}
	return f()
}

// saveVM makes a disk of a VM, which is stopped and started again for that.
func (o *Operator) saveVM(ctx context.Context, v *vm, d machines.Disk) error {
	v.busy.Lock()
	defer v.busy.Unlock()
	v.mu.Lock()
	m, g := v.machine, v.gate
	v.mu.Unlock()
	if m == nil || g == nil {
		return errors.New("the VM is gone")
	}
	g.close()
	if err := m.Stop(ctx); err != nil {
		return err
	}
	err := o.slowly(ctx, func() error { return m.Save(ctx, d) })
	if ctx.Err() != nil {
		return err
	}
	return errors.Join(err, m.Start(ctx), g.open())
}

// PushVM begins to push a VM to a registry and returns the name of the job, whose
// Pod tells how it goes.
func (o *Operator) PushVM(namespace, name, ref string) (string, error) {
	v, err := o.find(namespace, name)
	if err != nil {
		return "", apierrors.NewNotFound(store.VMs.Resource(), name)
	}
	if !orkav1.IsReference(ref) {
		return "", apierrors.NewBadRequest(fmt.Sprintf("imageReference %q is not an OCI reference", ref))
	}
	job := "registry-push-" + store.Suffix()
	pod := &store.Object{
		ObjectMeta: metav1.ObjectMeta{
			Name: job + "-" + store.Suffix(), Namespace: namespace,
			Labels:      map[string]string{orkav1.LabelJobType: orkav1.JobPush, orkav1.LabelJobName: job, orkav1.LabelOldJob: job},
			Annotations: map[string]string{orkav1.NoteOCIImage: ref},
		},
		Spec:   &store.PodSpec{RestartPolicy: "Never", Containers: []store.Container{{Name: "push", Image: ref}}},
		Status: &store.PodStatus{Phase: "Running"},
	}
	made, err := o.cfg.Store.Create(store.Pods, pod)
	if err != nil {
		return "", err
	}
	o.run(func() {
		err := o.push(v, ref)
		if o.ctx.Err() != nil {
			return
		}
		_, gone := o.cfg.Store.Update(store.Pods, namespace, made.Name, func(p *store.Object) error {
			st := store.Status[store.PodStatus](p)
			if st.Phase = "Succeeded"; err != nil {
				st.Phase, st.Message = "Failed", err.Error()
			}
			return nil
		})
		if gone != nil {
			o.cfg.Log.Debug("push job is gone", "job", job)
		}
	})
	return job, nil
}

func (o *Operator) push(v *vm, ref string) error {
	if err := wait(o.ctx, o.cfg.Times.Push); err != nil {
		return err
	}
	d := machines.Disk("pushed-" + store.Suffix() + store.Suffix())
	v.busy.Lock()
	defer v.busy.Unlock()
	if v.machine == nil {
		return errors.New("the VM is gone")
	}
	if err := v.machine.Save(o.ctx, d); err != nil {
		return err
	}
	old, had := o.reference(ref)
	if err := o.publish(store.ReferenceSpec{Reference: ref, Disk: string(d), Arch: v.demand.Arch}); err != nil {
		return err
	}
	if had {
		return o.cfg.Place.Remove(o.ctx, machines.Disk(old.Disk))
	}
	return nil
}
