package kube

import (
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"

	"outrigger.dev/outrigger/internal/devorka/store"
)

// A selection is what of a kind a request is about.
type selection struct {
	labels labels.Selector
	fields fields.Selector
}

func (c *call) selection() (selection, error) {
	q := c.r.URL.Query()
	l, err := labels.Parse(q.Get("labelSelector"))
	if err != nil {
		return selection{}, apierrors.NewBadRequest(fmt.Sprintf("unable to parse requirement: %v", err))
	}
	f, err := fields.ParseSelector(q.Get("fieldSelector"))
	if err != nil {
		return selection{}, apierrors.NewBadRequest(fmt.Sprintf("unable to parse field selector: %v", err))
	}
	for _, r := range f.Requirements() {
		if r.Field != "metadata.name" && r.Field != "metadata.namespace" && (c.kind != store.Pods || r.Field != "status.phase") {
			return selection{}, apierrors.NewBadRequest(fmt.Sprintf("field label not supported: %s", r.Field))
		}
	}
	return selection{l, f}, nil
}

func (s selection) has(o *store.Object) bool {
	if o == nil {
		return false
	}
	set := fields.Set{"metadata.name": o.Name, "metadata.namespace": o.Namespace}
	if p := store.Status[store.PodStatus](o); p != nil {
		set["status.phase"] = p.Phase
	}
	return s.labels.Matches(labels.Set(o.Labels)) && s.fields.Matches(set)
}
