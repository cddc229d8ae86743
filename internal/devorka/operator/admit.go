package operator

import (
	"fmt"
	"net/http"
	"regexp"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"outrigger.dev/outrigger/internal/devorka/inject"
	"outrigger.dev/outrigger/internal/devorka/orkav1"
	"outrigger.dev/outrigger/internal/devorka/store"
)

// Doubts are answers that no public source gives. Each has a value here and may
// be given another, so that a client can be tried against either.
type Doubts struct {
	// ImageMissing is the status code for a deploy from an unknown image: 404.
	ImageMissing int
	// DeployTimedOut is the status code of a REST deploy whose time is over: 504.
	DeployTimedOut int
	// DeployFailed is that of one whose VM failed: 500.
	DeployFailed int
	// DropTimedOut deletes a VM whose deploy missed its time. GHA's pull request
	// #11 suggests that it stays Pending and runs later.
	DropTimedOut bool
	// DropFailed deletes a VM that has failed, as the troubleshooting of clusters on premises says; published clients
	// delete such VMs themselves, so others seem to keep them.
	DropFailed bool
	// DeleteStatus is the status code of a REST delete: 200, with an empty body.
	DeleteStatus int
	// DeleteWaits makes a REST delete answer when the VM is gone.
	DeleteWaits bool
}

// Defaults returns d with its zero fields filled in.
func (d Doubts) Defaults() Doubts {
	for field, value := range map[*int]int{
		&d.ImageMissing: http.StatusNotFound, &d.DeployTimedOut: http.StatusGatewayTimeout,
		&d.DeployFailed: http.StatusInternalServerError, &d.DeleteStatus: http.StatusOK,
	} {
		if *field == 0 {
			*field = value
		}
	}
	return d
}

// denied is what the API server says when a validating webhook refuses.
func denied(k *store.Kind, format string, args ...any) error {
	return status(http.StatusForbidden, metav1.StatusReasonForbidden,
		"admission webhook \"v%s.kb.io\" denied the request: %s", k.Singular, fmt.Sprintf(format, args...))
}

func status(code int, reason metav1.StatusReason, format string, args ...any) error {
	return &apierrors.StatusError{ErrStatus: metav1.Status{
		Status: metav1.StatusFailure, Code: int32(code), Reason: reason, Message: fmt.Sprintf(format, args...), //nolint:gosec // an HTTP status code
	}}
}

// public are the references that MacStadium publishes.
var public = regexp.MustCompile(`^ghcr\.io/macstadium/orka-images/(ventura|sonoma|sequoia|tahoe)(-[a-z0-9-]+)?(:[\w.-]+)?$`)

// CreateVM stores a VM that AdmitVM lets through.
func (o *Operator) CreateVM(vm *store.Object, user string) (*store.Object, error) {
	if err := o.AdmitVM(vm, user); err != nil {
		return nil, err
	}
	if _, taken := o.cfg.Faults.VM(inject.Taken, vm.Name); taken && user != Stranger {
		if err := o.squat(vm); err != nil {
			return nil, err
		}
	}
	return o.cfg.Store.Create(store.VMs, vm)
}

// AdmitVM is what Orka's webhooks do to a VM that somebody wants: they fill it in, or
// say why not. The name is chosen here if there is only a prefix.
func (o *Operator) AdmitVM(vm *store.Object, user string) error {
	if err := o.takesVMs(vm.Namespace); err != nil {
		return err
	}
	spec := store.Spec[orkav1.VMSpec](vm)
	if name := vm.Labels[orkav1.LabelConfig]; name != "" {
		t, err := o.template(vm.Namespace, name)
		if err != nil {
			return denied(store.VMs, "VM config %s not found", name)
		}
		spec.Apply(*store.Spec[orkav1.ConfigSpec](t))
	}
	spec.Default()
	if vm.Name == "" {
		vm.Name = vm.GenerateName + store.Suffix()
	}
	if err := orkav1.VMName(vm.Name); err != nil {
		return denied(store.VMs, "%s", err)
	}
	if err := orkav1.CheckVM(*spec); err != nil {
		return denied(store.VMs, "%s", err)
	}
	arch, err := o.archOf(spec.Image)
	if err != nil {
		return err
	}
	if spec.NodeName != nil && *spec.NodeName != "" {
		if _, ok := o.node(*spec.NodeName); !ok {
			return denied(store.VMs, "node %s not found", *spec.NodeName)
		}
	}
	if arch == orkav1.Arm && spec.ISO != nil && *spec.ISO != "" {
		return denied(store.VMs, "iso is not supported on Apple silicon")
	}
	if arch == orkav1.Arm && spec.GPUPassthrough != nil && *spec.GPUPassthrough {
		return denied(store.VMs, "gpuPassthrough is not supported on Apple silicon")
	}
	if err := o.quota(vm.Namespace, vm.Name); err != nil {
		return err
	}
	vm.Labels = with(vm.Labels, orkav1.LabelArch, arch)
	vm.Annotations = with(vm.Annotations, orkav1.NoteCreatedBy, user)
	vm.Finalizers = append(vm.Finalizers, orkav1.Finalizer)
	vm.Status = &orkav1.VMStatus{Phase: orkav1.Pending}
	return nil
}

// Stranger is who has the VMs that fault "taken" makes.
const Stranger = "system:serviceaccount:orka-default:somebody-else"

func (o *Operator) squat(vm *store.Object) error {
	theirs := &store.Object{ObjectMeta: metav1.ObjectMeta{Name: vm.Name, Namespace: vm.Namespace}}
	spec := *store.Spec[orkav1.VMSpec](vm)
	theirs.Spec = &spec
	_, err := o.CreateVM(theirs, Stranger)
	if apierrors.IsAlreadyExists(err) {
		return nil // taken already, which is all that was wanted
	}
	return err
}

// template finds a VM config: their names are unique in a cluster, and clients keep them
// in the default namespace.
func (o *Operator) template(namespace, name string) (*store.Object, error) {
	t, err := o.cfg.Store.Get(store.Configs, namespace, name)
	if err == nil {
		return t, nil
	}
	return o.cfg.Store.Get(store.Configs, orkav1.DefaultNamespace, name)
}

// archOf tells for which processors an image is; an image of the cluster must exist.
func (o *Operator) archOf(image string) (string, error) {
	if orkav1.IsReference(image) {
		if r, ok := o.reference(image); ok {
			return r.Arch, nil
		}
		return orkav1.Arm, nil // whether it exists shows when it is pulled
	}
	img, err := o.cfg.Store.Get(store.Images, orkav1.DefaultNamespace, image)
	if err != nil {
		return "", status(o.cfg.Doubts.ImageMissing, reasonOf(o.cfg.Doubts.ImageMissing), "Image %s not found", image)
	}
	if s := store.Status[orkav1.ImageStatus](img); s.State != orkav1.ImageReady {
		return "", denied(store.VMs, "Image %s is not ready: %s", image, s.State)
	}
	if arch := img.Labels[orkav1.LabelArch]; arch != "" {
		return arch, nil
	}
	return orkav1.Arm, nil
}

func reasonOf(code int) metav1.StatusReason {
	switch code {
	case http.StatusNotFound:
		return metav1.StatusReasonNotFound
	case http.StatusForbidden:
		return metav1.StatusReasonForbidden
	case http.StatusGatewayTimeout:
		return metav1.StatusReasonTimeout
	case http.StatusBadRequest:
		return metav1.StatusReasonBadRequest
	case http.StatusUnprocessableEntity:
		return metav1.StatusReasonInvalid
	case http.StatusInternalServerError:
		return metav1.StatusReasonInternalError
	}
	return metav1.StatusReasonUnknown
}

// SetQuota limits the VMs of a namespace, as a ResourceQuota of Kubernetes does; negative: no limit.
func (o *Operator) SetQuota(namespace string, vms int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.quotas[namespace] = vms
}

func (o *Operator) quota(namespace, name string) error {
	o.mu.Lock()
	limit, ok := o.quotas[namespace]
	o.mu.Unlock()
	if !ok || limit < 0 {
		return nil
	}
	all, _ := o.cfg.Store.List(store.VMs, namespace)
	if len(all) < limit {
		return nil
	}
	const counted = "count/virtualmachineinstances.orka.macstadium.com"
	return apierrors.NewForbidden(store.VMs.Resource(), name,
		fmt.Errorf("exceeded quota: vms, requested: %s=1, used: %s=%d, limited: %s=%d", counted, counted, len(all), counted, limit))
}

func with(m map[string]string, key, value string) map[string]string {
	out := map[string]string{}
	for k, v := range m {
		out[k] = v
	}
	out[key] = value
	return out
}

// CreateConfig stores a template as Orka's webhooks let it through.
func (o *Operator) CreateConfig(c *store.Object, user string) (*store.Object, error) {
	if _, err := o.cfg.Store.Get(store.Namespaces, "", c.Namespace); err != nil {
		return nil, err
	}
	if err := orkav1.ConfigName(c.Name); err != nil {
		return nil, denied(store.Configs, "%s", err)
	}
	spec := store.Spec[orkav1.ConfigSpec](c)
	if spec.CPU == 0 {
		spec.CPU = orkav1.DefaultCPU
	}
	var vm orkav1.VMSpec
	vm.Apply(*spec)
	if err := orkav1.CheckVM(vm); err != nil {
		return nil, denied(store.Configs, "%s", err)
	}
	arch, err := o.archOf(spec.Image)
	if err != nil {
		return nil, err
	}
	c.Labels = with(c.Labels, orkav1.LabelArch, arch)
	c.Annotations = with(c.Annotations, orkav1.NoteCreatedBy, user)
	all, _ := o.cfg.Store.List(store.Configs, "")
	for _, other := range all {
		if other.Name == c.Name {
			return nil, apierrors.NewAlreadyExists(store.Configs.Resource(), c.Name)
		}
	}
	return o.cfg.Store.Create(store.Configs, c)
}
