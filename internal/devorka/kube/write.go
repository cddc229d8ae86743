package kube

import (
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"outrigger.dev/outrigger/internal/devorka/door"
	"outrigger.dev/outrigger/internal/devorka/orkav1"
	"outrigger.dev/outrigger/internal/devorka/store"
)

// body reads an object of the request's kind.
func (c *call) body() (*store.Object, error) {
	b, err := c.bytes("application/json", "application/yaml")
	if err != nil {
		return nil, err
	}
	return c.decode(b)
}

// bytes reads the body as JSON, if it is of one of those types.
func (c *call) bytes(types ...string) ([]byte, error) {
	b, err := door.Body(c.w, c.r)
	if err != nil {
		return nil, err
	}
	got, _, err := mime.ParseMediaType(c.r.Header.Get("Content-Type"))
	if err != nil && c.r.Header.Get("Content-Type") != "" {
		return nil, apierrors.NewBadRequest(err.Error())
	}
	if got == "" {
		got = types[0]
	}
	if !slices.Contains(types, got) {
		return nil, &apierrors.StatusError{ErrStatus: metav1.Status{
			Status: metav1.StatusFailure, Code: http.StatusUnsupportedMediaType, Reason: metav1.StatusReasonUnsupportedMediaType,
			Message: "the body of the request was in an unknown format - accepted media types include: " + strings.Join(types, ", "),
		}}
	}
	if strings.HasSuffix(got, "yaml") {
		if b, err = yaml.YAMLToJSON(b); err != nil {
			return nil, apierrors.NewBadRequest(err.Error())
		}
	}
	return b, nil
}

func (c *call) groupKind() schema.GroupKind {
	return schema.GroupKind{Group: c.kind.Group, Kind: c.kind.Kind}
}

func (c *call) decode(b []byte) (*store.Object, error) {
	strict := c.r.URL.Query().Get("fieldValidation") == "Strict"
	o, err := c.kind.Decode(b, strict)
	var wrong *json.UnmarshalTypeError
	switch {
	case errors.As(err, &wrong):
		return nil, apierrors.NewInvalid(c.groupKind(), "", field.ErrorList{
			field.Invalid(field.NewPath(wrong.Field), wrong.Value, fmt.Sprintf("%s in body must be of type %s: %q", wrong.Field, wrong.Type, wrong.Value)),
		})
	case err != nil && strict && strings.Contains(err.Error(), "unknown field"):
		return nil, apierrors.NewBadRequest(fmt.Sprintf("%s in version %q cannot be handled as a %s: strict decoding error: %s",
			c.kind.Kind, c.kind.Version, c.kind.Kind, strings.TrimPrefix(err.Error(), "json: ")))
	case err != nil:
		return nil, apierrors.NewBadRequest(err.Error())
	}
	if o.Kind != "" && (o.Kind != c.kind.Kind || o.APIVersion != c.kind.APIVersion()) {
		return nil, apierrors.NewBadRequest(fmt.Sprintf("%s, Kind=%s in the body does not match the expected %s, Kind=%s", o.APIVersion, o.Kind, c.kind.APIVersion(), c.kind.Kind))
	}
	if o.Namespace == "" {
		o.Namespace = c.namespace
	}
	if o.Namespace != c.namespace {
		return nil, apierrors.NewBadRequest("the namespace of the provided object does not match the namespace sent on the request")
	}
	if c.name != "" && o.Name != c.name {
		return nil, apierrors.NewBadRequest(fmt.Sprintf("the name of the object (%s) does not match the name on the URL (%s)", o.Name, c.name))
	}
	return o, nil
}

func (c *call) dry() bool { return slices.Contains(c.r.URL.Query()["dryRun"], metav1.DryRunAll) }

func (s *server) create(c *call) error {
	o, err := c.body()
	if err != nil {
		return err
	}
	if err := c.checkMeta(o); err != nil {
		return err
	}
	if c.kind.Namespaced {
		if _, err := s.Store.Get(store.Namespaces, "", c.namespace); err != nil {
			return err
		}
	}
	if c.dry() {
		if c.kind == store.VMs {
			if err := s.Operator.AdmitVM(o, c.user.Name); err != nil {
				return err
			}
		}
		return c.answer(http.StatusCreated, o)
	}
	made, err := s.make(c, o)
	if err != nil {
		return err
	}
	return c.answer(http.StatusCreated, made)
}

func (s *server) make(c *call, o *store.Object) (*store.Object, error) {
	switch c.kind {
	case store.VMs:
		return s.Operator.CreateVM(o, c.user.Name)
	case store.Images:
		return s.Operator.CreateImage(o, c.user.Name)
	case store.Configs:
		return s.Operator.CreateConfig(o, c.user.Name)
	case store.Namespaces:
		o.Status = &store.NamespaceStatus{Phase: "Active"}
	default:
		o.Status = nil
	}
	return s.Store.Create(c.kind, o)
}

// checkMeta is what an API server checks of any object before its webhooks are asked.
func (c *call) checkMeta(o *store.Object) error {
	path := field.NewPath("metadata", "name")
	if o.Name == "" && o.GenerateName == "" {
		return apierrors.NewInvalid(c.groupKind(), "", field.ErrorList{field.Required(path, "name or generateName is required")})
	}
	if o.Name == "" {
		return nil
	}
	if problems := validation.IsDNS1123Subdomain(o.Name); len(problems) > 0 {
		return apierrors.NewInvalid(c.groupKind(), o.Name, field.ErrorList{field.Invalid(path, o.Name, strings.Join(problems, ", "))})
	}
	return nil
}

func (s *server) update(c *call) error {
	o, err := c.body()
	if err != nil {
		return err
	}
	if o.ResourceVersion == "" {
		return apierrors.NewInvalid(c.groupKind(), c.name, field.ErrorList{
			field.Invalid(field.NewPath("metadata", "resourceVersion"), 0, "must be specified for an update"),
		})
	}
	return s.change(c, func(*store.Object) (*store.Object, error) { return o, nil })
}

// patch takes merge patches (RFC 7386).
func (s *server) patch(c *call) error {
	b, err := c.bytes("application/merge-patch+json")
	if err != nil {
		return err
	}
	var p any
	if err := json.Unmarshal(b, &p); err != nil {
		return apierrors.NewBadRequest(err.Error())
	}
	return s.change(c, func(old *store.Object) (*store.Object, error) {
		was, err := json.Marshal(old)
		if err != nil {
			return nil, err
		}
		var tree any
		if err := json.Unmarshal(was, &tree); err != nil {
			return nil, err
		}
		is, err := json.Marshal(merge(tree, p))
		if err != nil {
			return nil, err
		}
		return c.decode(is)
	})
}

func merge(into, patch any) any {
	p, ok := patch.(map[string]any)
	if !ok {
		return patch
	}
	m, ok := into.(map[string]any)
	if !ok {
		m = map[string]any{}
	}
	for k, v := range p {
		if v == nil {
			delete(m, k)
		} else {
			m[k] = merge(m[k], v)
		}
	}
	return m
}

// change stores what next makes of an object: its spec and what clients may change of
// its metadata, or its status alone.
func (s *server) change(c *call, next func(*store.Object) (*store.Object, error)) error {
	if c.dry() {
		old, err := s.Store.Get(c.kind, c.namespace, c.name)
		if err != nil {
			return err
		}
		o, err := next(old)
		if err != nil {
			return err
		}
		return c.answer(http.StatusOK, o)
	}
	stored, err := s.Store.Update(c.kind, c.namespace, c.name, func(old *store.Object) error {
		o, err := next(old)
		if err != nil {
			return err
		}
		if o.ResourceVersion != "" && o.ResourceVersion != old.ResourceVersion {
			return apierrors.NewConflict(c.kind.Resource(), c.name, errors.New("the object has been modified; please apply your changes to the latest version and try again"))
		}
		if o.UID != "" && o.UID != old.UID {
			return apierrors.NewConflict(c.kind.Resource(), c.name, fmt.Errorf("precondition failed: UID in precondition: %v, UID in object meta: %v", o.UID, old.UID))
		}
		if c.sub == "status" {
			old.Status = o.Status
			return nil
		}
		ours := slices.Contains(old.Finalizers, orkav1.Finalizer)
		old.Labels, old.Annotations, old.OwnerReferences, old.Finalizers = o.Labels, o.Annotations, o.OwnerReferences, o.Finalizers
		if ours && !slices.Contains(old.Finalizers, orkav1.Finalizer) {
			old.Finalizers = append(old.Finalizers, orkav1.Finalizer) // its machine has not ended
		}
		was, err := json.Marshal(old.Spec)
		if err != nil {
			return err
		}
		is, err := json.Marshal(o.Spec)
		if err != nil {
			return err
		}
		if string(was) != string(is) {
			old.Spec = o.Spec
			old.Generation++
		}
		return nil
	})
	if err != nil {
		return err
	}
	return c.answer(http.StatusOK, stored)
}

func (s *server) delete(c *call) error {
	var opts metav1.DeleteOptions
	if err := door.Read(c.w, c.r, &opts); err != nil {
		return err
	}
	old, err := s.Store.Get(c.kind, c.namespace, c.name)
	if err != nil {
		return err
	}
	if p := opts.Preconditions; p != nil {
		if p.UID != nil && *p.UID != old.UID {
			return apierrors.NewConflict(c.kind.Resource(), c.name, fmt.Errorf("precondition failed: UID in precondition: %v, UID in object meta: %v", *p.UID, old.UID))
		}
		if p.ResourceVersion != nil && *p.ResourceVersion != old.ResourceVersion {
			return apierrors.NewConflict(c.kind.Resource(), c.name, fmt.Errorf("precondition failed: ResourceVersion in precondition: %v, ResourceVersion in object meta: %v", *p.ResourceVersion, old.ResourceVersion))
		}
	}
	if c.dry() || slices.Contains(opts.DryRun, metav1.DryRunAll) {
		return c.answer(http.StatusOK, old)
	}
	gone, err := s.remove(c.kind, old)
	if err != nil {
		return err
	}
	if len(gone.Finalizers) > 0 {
		return c.answer(http.StatusOK, gone)
	}
	door.Done(c.w, &metav1.StatusDetails{Name: c.name, Group: c.kind.Group, Kind: c.kind.Plural, UID: old.UID})
	return nil
}

func (s *server) remove(k *store.Kind, o *store.Object) (*store.Object, error) {
	if k == store.Images {
		return s.Operator.DeleteImage(o.Name)
	}
	return s.Store.Delete(k, o.Namespace, o.Name)
}

func (s *server) deleteAll(c *call) error {
	sel, err := c.selection()
	if err != nil {
		return err
	}
	all, version := s.Store.List(c.kind, c.namespace)
	gone := []*store.Object{}
	for _, o := range all {
		if !sel.has(o) {
			continue
		}
		g, err := s.remove(c.kind, o)
		if apierrors.IsNotFound(err) {
			continue
		}
		if err != nil {
			return err
		}
		gone = append(gone, g)
	}
	door.JSON(c.w, http.StatusOK, listOf(c.kind, gone, version))
	return nil
}
