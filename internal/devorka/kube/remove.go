package kube

import (
	"fmt"
	"net/http"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"outrigger.dev/outrigger/internal/devorka/door"
	"outrigger.dev/outrigger/internal/devorka/store"
)

func (s *server) delete(c *call) error {
	var opts metav1.DeleteOptions
	if err := c.readReview(&opts); err != nil {
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
	if k == store.Namespaces {
		return s.Operator.DeleteNamespace(o.Name)
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
