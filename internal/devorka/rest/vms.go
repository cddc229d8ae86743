package rest

import (
	"context"
	"fmt"
	"net/http"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"outrigger.dev/outrigger/internal/devorka/orkav1"
	"outrigger.dev/outrigger/internal/devorka/store"
)

// A VM is one as this door lists it. A VM that is Pending has neither address nor ports.
type VM struct {
	Name           string `json:"name"`
	IP             string `json:"ip,omitempty"`
	CPU            int    `json:"cpu"`
	DeployDate     string `json:"deployDate"`
	Image          string `json:"image"`
	GPUPassthrough bool   `json:"gpuPassthrough"`
	Memory         string `json:"memory"`
	Node           string `json:"node,omitempty"`
	Screenshare    *int   `json:"screenshare,omitempty"`
	SSH            *int   `json:"ssh,omitempty"`
	VNC            *int   `json:"vnc,omitempty"`
	Status         string `json:"status"`
	PortWarnings   string `json:"portWarnings,omitempty"`
}

// Deployed is the answer to a deploy.
type Deployed struct {
	Name         string `json:"name"`
	Node         string `json:"node"`
	Memory       string `json:"memory"`
	IP           string `json:"ip"`
	SSH          *int   `json:"ssh,omitempty"`
	VNC          *int   `json:"vnc,omitempty"`
	Screenshare  *int   `json:"screenshare,omitempty"`
	Status       string `json:"status"`
	PortWarnings string `json:"portWarnings,omitempty"`
}

// Deploy is the request of one. Only image, or vmConfig, is required. The last four
// are named as in the CRD: their names here are not documented.
type Deploy struct {
	orkav1.VMSpec
	Name               string  `json:"name"`
	VMConfig           string  `json:"vmConfig"`
	ShouldGenerateName bool    `json:"shouldGenerateName"`
	Node               *string `json:"node"`
	Timeout            *int    `json:"timeout"` // minutes
}

func (s *server) vmRoutes(mux *http.ServeMux) {
	const vms = "/api/v1/namespaces/{ns}/vms"
	s.handle(mux, "GET "+vms, store.VMs, "list", func(c *call) error {
		all, _ := s.Store.List(store.VMs, c.ns)
		return list(c, all, vmItem)
	})
	s.handle(mux, "POST "+vms, store.VMs, "", s.deploy)
	s.handle(mux, "GET "+vms+"/{name}", store.VMs, "", func(c *call) error {
		o, err := s.Store.Get(store.VMs, c.ns, c.name())
		if err != nil {
			return err
		}
		return c.json(vmItem(o))
	})
	s.handle(mux, "DELETE "+vms+"/{name}", store.VMs, "", s.deleteVM)
	s.handle(mux, "POST "+vms+"/{name}/exec", store.VMs, "update", func(c *call) error {
		// The body is not documented: any of these names will do.
		var req struct{ Action, Command, Operation string }
		if err := c.read(&req); err != nil {
			return err
		}
		if err := s.Operator.Power(c.r.Context(), c.ns, c.name(), req.Action+req.Command+req.Operation); err != nil {
			return err
		}
		return c.done()
	})
	s.handle(mux, "POST "+vms+"/{name}/commit", store.Images, "create", func(c *call) error {
		var req struct{ Description string }
		if err := c.read(&req); err != nil {
			return err
		}
		image, err := s.Operator.CommitVM(c.ns, c.name(), req.Description)
		if err != nil {
			return err
		}
		return c.json(map[string]string{"name": image, "message": "Committing VM " + c.name()})
	})
	s.handle(mux, "POST "+vms+"/{name}/save", store.Images, "create", func(c *call) error {
		var req struct{ Description, ImageName string }
		if err := c.read(&req); err != nil {
			return err
		}
		if req.ImageName == "" {
			return failed(http.StatusBadRequest, metav1.StatusReasonBadRequest, "imageName is required")
		}
		if _, err := s.Store.Get(store.VMs, c.ns, c.name()); err != nil {
			return err
		}
		img := &store.Object{
			ObjectMeta: meta(defaultNamespace, req.ImageName),
			Spec:       &orkav1.ImageSpec{Source: c.name(), SourceNamespace: c.ns, SourceType: orkav1.SourceVM, Destination: req.ImageName},
		}
		img.Annotations = map[string]string{orkav1.NoteDescribed: req.Description}
		if _, err := s.Operator.CreateImage(img, c.user.Name); err != nil {
			return err
		}
		return c.json(map[string]string{"name": req.ImageName, "message": "Saving VM " + c.name()})
	})
	s.handle(mux, "POST "+vms+"/{name}/push", store.VMs, "update", func(c *call) error {
		var req struct{ ImageReference string }
		if err := c.read(&req); err != nil {
			return err
		}
		job, err := s.Operator.PushVM(c.ns, c.name(), req.ImageReference)
		if err != nil {
			return err
		}
		return c.json(map[string]string{"jobName": job})
	})
}

func vmItem(o *store.Object) VM {
	spec, st := store.Spec[orkav1.VMSpec](o), store.Status[orkav1.VMStatus](o)
	vm := VM{
		Name: o.Name, IP: address(st), CPU: spec.CPU, DeployDate: o.CreationTimestamp.UTC().Format(time.RFC3339), Image: spec.Image,
		GPUPassthrough: spec.GPUPassthrough != nil && *spec.GPUPassthrough, Memory: st.Memory, Node: st.NodeName,
		Screenshare: st.ScreenSharePort, SSH: st.SSHPort, VNC: st.VNCPort, Status: string(st.Phase), PortWarnings: st.PortWarnings,
	}
	if vm.Memory == "" {
		vm.Memory = orkav1.Gi(orkav1.MemoryGiB(*spec))
	}
	return vm
}

// address is where a VM's ports are: the VM's own in bridge mode, else the node's.
func address(st *orkav1.VMStatus) string {
	if st.IP != "" {
		return st.IP
	}
	return st.HostIP
}

// deploy makes a VM and answers when it runs. When the client leaves before that the
// VM stays.
func (s *server) deploy(c *call) error {
	req := Deploy{}
	if err := c.read(&req); err != nil {
		return err
	}
	limit := s.DeployTimeout
	if req.Timeout != nil && *req.Timeout > 0 {
		limit = time.Duration(*req.Timeout) * s.Minute
	}
	spec := req.VMSpec
	if req.Node != nil && *req.Node != "" {
		spec.NodeName = req.Node
	}
	if spec.Memory != nil && *spec.Memory == 0 {
		spec.Memory = nil // automatic
	}
	vm := &store.Object{ObjectMeta: meta(c.ns, req.Name), Spec: &spec}
	switch {
	case req.Name == "":
		vm.GenerateName = "vm-"
	case req.ShouldGenerateName:
		vm.Name, vm.GenerateName = "", req.Name+"-"
	}
	if req.VMConfig != "" {
		vm.Labels = map[string]string{orkav1.LabelConfig: req.VMConfig}
	}
	made, err := s.Operator.CreateVM(vm, c.user.Name)
	if apierrors.IsAlreadyExists(err) {
		return failed(http.StatusConflict, metav1.StatusReasonAlreadyExists, "VM with name %s already exists", req.Name)
	}
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(c.r.Context(), limit)
	defer cancel()
	o, err := s.await(ctx, made)
	switch {
	case c.r.Context().Err() != nil:
		return nil // there is nobody to answer
	case ctx.Err() != nil && err != nil:
		if s.Doubts.DropTimedOut {
			if _, err := s.Store.Delete(store.VMs, made.Namespace, made.Name); err != nil && !apierrors.IsNotFound(err) {
				return err
			}
		}
		return failed(s.Doubts.DeployTimedOut, metav1.StatusReasonTimeout, "Timed out waiting for VM %s to be deployed", made.Name)
	case err != nil:
		return err
	}
	st := store.Status[orkav1.VMStatus](o)
	if st.Phase == orkav1.Failed {
		return failed(s.Doubts.DeployFailed, metav1.StatusReasonInternalError, "Failed to deploy VM %s: %s", o.Name, st.ErrorMessage)
	}
	return c.json(Deployed{
		Name: o.Name, Node: st.NodeName, Memory: st.Memory, IP: address(st), SSH: st.SSHPort, VNC: st.VNCPort,
		Screenshare: st.ScreenSharePort, Status: string(st.Phase), PortWarnings: st.PortWarnings,
	})
}

// await waits until a VM is no longer Pending.
func (s *server) await(ctx context.Context, made *store.Object) (*store.Object, error) {
	w, err := s.Store.Watch(store.VMs, made.Namespace, made.ResourceVersion)
	if err != nil {
		return nil, err
	}
	defer w.Close()
	for {
		e, err := w.Next(ctx)
		if err != nil {
			return nil, err
		}
		if e.Object.UID != made.UID {
			continue
		}
		if e.Type == store.Deleted || e.Object.DeletionTimestamp != nil {
			return nil, failed(http.StatusInternalServerError, metav1.StatusReasonInternalError, "VM %s was deleted while it was deployed", made.Name)
		}
		if store.Status[orkav1.VMStatus](e.Object).Phase != orkav1.Pending {
			return e.Object, nil
		}
	}
}

func failed(code int, reason metav1.StatusReason, format string, args ...any) error {
	return &apierrors.StatusError{ErrStatus: metav1.Status{
		Status: metav1.StatusFailure, Code: int32(code), Reason: reason, Message: fmt.Sprintf(format, args...), //nolint:gosec // an HTTP status code
	}}
}

// deleteVM answers with an empty body, as clients have met it.
func (s *server) deleteVM(c *call) error {
	w, err := s.Store.Watch(store.VMs, c.ns, s.Store.Version())
	if err != nil {
		return err
	}
	defer w.Close()
	o, err := s.Store.Delete(store.VMs, c.ns, c.name())
	if err != nil {
		return err
	}
	for s.Doubts.DeleteWaits {
		e, err := w.Next(c.r.Context())
		if err != nil {
			return nil //nolint:nilerr // the client has left
		}
		if e.Object.UID == o.UID && e.Type == store.Deleted {
			break
		}
	}
	c.w.WriteHeader(s.Doubts.DeleteStatus)
	return nil
}
