//go:build linux

package pods_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"outrigger.dev/outrigger/test/apiserver"
)

// config is the controller's way to the API server: with the rights that it is installed with.
func (w *world) config() *rest.Config {
	w.Helper()
	w.rights.Do(w.grant)
	return server.ConfigFor(apiserver.Nobody)
}

// grant gives the user nobody the rights of deploy/kustomize, in the controller's namespace.
func (w *world) grant() {
	w.Helper()
	data, err := os.ReadFile("../../../deploy/kustomize/base/rbac.yaml")
	w.must(err)
	who := []rbacv1.Subject{{Kind: rbacv1.UserKind, APIGroup: rbacv1.GroupName, Name: "nobody"}}
	for d := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(data), 4096); ; {
		var o unstructured.Unstructured
		err := d.Decode(&o.Object)
		if errors.Is(err, io.EOF) {
			return
		}
		w.must(err)
		switch o.GetKind() {
		case "ClusterRole":
			var role rbacv1.ClusterRole
			w.must(runtime.DefaultUnstructuredConverter.FromUnstructured(o.Object, &role))
			role.Name = w.pool
			binding := rbacv1.ClusterRoleBinding{Subjects: who, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: w.pool}}
			binding.Name = w.pool
			w.must(w.Create(w.Context(), &role))
			w.must(w.Create(w.Context(), &binding))
		case "Role":
			var role rbacv1.Role
			w.must(runtime.DefaultUnstructuredConverter.FromUnstructured(o.Object, &role))
			role.Namespace = w.home()
			binding := rbacv1.RoleBinding{Subjects: who, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: role.Name}}
			binding.Namespace, binding.Name = w.home(), role.Name
			w.must(w.Create(w.Context(), &role))
			w.must(w.Create(w.Context(), &binding))
		}
	}
}

// The rights are no more than they seem: what is in a namespace's own Secrets stays there.
func TestSecretsAreNotRead(t *testing.T) {
	w := newWorld(t)
	c, err := client.New(w.config(), client.Options{Scheme: server.Scheme()})
	w.must(err)
	w.control()
	w.makePool(0, 1)
	pod := w.pod("job", nil)
	w.begins(pod)
	name := client.ObjectKey{Namespace: w.pool, Name: "outrigger-" + w.claim(pod).Name}
	if err := c.Get(t.Context(), name, &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "Secret"}}); err == nil {
		t.Errorf("the controller could read Secret %s", name)
	}
}
