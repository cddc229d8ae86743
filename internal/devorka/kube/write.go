package kube

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"outrigger.dev/outrigger/internal/devorka/orkav1"
	"outrigger.dev/outrigger/internal/devorka/store"
)

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
		return s.Operator.CreateNamespace(o)
	case store.ServiceAccounts:
		return s.Access.CreateAccount(o)
	default:
		o.Status = nil
	}
	return s.Store.Create(c.kind, o)
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
