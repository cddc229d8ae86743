//go:build linux

package pods_test

import (
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
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
	w.must(server.Grant(w.Context(), w.home()))
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
