//go:build linux

package apiserver

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"outrigger.dev/outrigger/test/built"
)

// Grant gives the user Nobody the rights that the controller is installed with, when its own namespace is that one.
func (s *Server) Grant(ctx context.Context, namespace string) error {
	root, err := built.Checkout()
	if err != nil {
		return err
	}
	data, err := os.ReadFile(filepath.Join(root, "deploy", "kustomize", "base", "rbac.yaml"))
	if err != nil {
		return err
	}
	c, err := client.New(s.Config(), client.Options{Scheme: s.Scheme()})
	if err != nil {
		return err
	}
	who := []rbacv1.Subject{{Kind: rbacv1.UserKind, APIGroup: rbacv1.GroupName, Name: "nobody"}}
	for d := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(data), 4096); ; {
		var o unstructured.Unstructured
		switch err := d.Decode(&o.Object); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
		var made []client.Object
		switch o.GetKind() {
		case "ClusterRole":
			var role rbacv1.ClusterRole
			err = runtime.DefaultUnstructuredConverter.FromUnstructured(o.Object, &role)
			role.Name = namespace
			binding := rbacv1.ClusterRoleBinding{Subjects: who, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role.Name}}
			binding.Name = namespace
			made = []client.Object{&role, &binding}
		case "Role":
			var role rbacv1.Role
			err = runtime.DefaultUnstructuredConverter.FromUnstructured(o.Object, &role)
			role.Namespace = namespace
			binding := rbacv1.RoleBinding{Subjects: who, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: role.Name}}
			binding.Namespace, binding.Name = namespace, role.Name
			made = []client.Object{&role, &binding}
		}
		for _, o := range made {
			if err == nil {
				err = c.Create(ctx, o)
			}
		}
		if err != nil {
			return err
		}
	}
}
