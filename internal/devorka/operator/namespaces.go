package operator

import (
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"outrigger.dev/outrigger/internal/devorka/orkav1"
	"outrigger.dev/outrigger/internal/devorka/store"
)

// CreateNamespace stores a namespace as Orka's webhooks let it through.
func (o *Operator) CreateNamespace(ns *store.Object) (*store.Object, error) {
	if err := orkav1.NamespaceName(ns.Name); err != nil {
		return nil, denied(store.Namespaces, "%s", err)
	}
	ns.Status = &store.NamespaceStatus{Phase: "Active"}
	return o.cfg.Store.Create(store.Namespaces, ns)
}

// DeleteNamespace removes a namespace with what is left in it. VMs and nodes have to be gone before.
func (o *Operator) DeleteNamespace(name string) (*store.Object, error) {
	if name == orkav1.DefaultNamespace {
		return nil, denied(store.Namespaces, "namespace %s cannot be deleted", name)
	}
	if _, err := o.cfg.Store.Get(store.Namespaces, "", name); err != nil {
		return nil, err
	}
	if vms, _ := o.cfg.Store.List(store.VMs, name); len(vms) > 0 {
		return nil, denied(store.Namespaces, "namespace %s has VMs: %s is one of %d; delete them first",
			name, vms[0].Name, len(vms))
	}
	nodes, _ := o.cfg.Store.List(store.Nodes, "")
	for _, n := range nodes {
		if store.Spec[orkav1.NodeSpec](n).Namespace == name {
			return nil, denied(store.Namespaces, "namespace %s has node %s; move it to another namespace first", name, n.Name)
		}
	}
	for _, k := range store.Kinds {
		if !k.Namespaced {
			continue
		}
		all, _ := o.cfg.Store.List(k, name)
		for _, obj := range all {
			if _, err := o.cfg.Store.Delete(k, name, obj.Name); err != nil && !apierrors.IsNotFound(err) {
				return nil, err
			}
		}
	}
	return o.cfg.Store.Delete(store.Namespaces, "", name)
}

// MoveNode gives a node to a namespace. No VM may run on it.
func (o *Operator) MoveNode(node, namespace string) error {
	if _, err := o.cfg.Store.Get(store.Namespaces, "", namespace); err != nil {
		return err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, v := range o.vms {
		if v.node.Name == node {
			return denied(store.Nodes, "node %s runs VM %s of namespace %s", node, v.name, v.namespace)
		}
	}
	_, err := o.cfg.Store.Update(store.Nodes, orkav1.DefaultNamespace, node, func(n *store.Object) error {
		store.Spec[orkav1.NodeSpec](n).Namespace = namespace
		return nil
	})
	return err
}

// takesVMs tells why VMs cannot be deployed in a namespace, or that there is none of that name.
func (o *Operator) takesVMs(namespace string) error {
	ns, err := o.cfg.Store.Get(store.Namespaces, "", namespace)
	if err != nil {
		return err
	}
	if ns.Labels[orkav1.LabelCustomPods] == "true" {
		return denied(store.VMs, "Orka VMs cannot be deployed in namespace %s, which is for custom pods", namespace)
	}
	return nil
}
