//go:build linux

package apiserver_test

import (
	"testing"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"outrigger.dev/outrigger/api/v1alpha1"
	"outrigger.dev/outrigger/test/apiserver"
)

// What was written is there after the server was killed and started again.
func TestRestart(t *testing.T) {
	s := apiserver.Start(t)
	c, err := client.New(s.Config(), client.Options{Scheme: s.Scheme()})
	if err != nil {
		t.Fatal(err)
	}
	pool := &v1alpha1.MachinePool{Spec: v1alpha1.MachinePoolSpec{OS: "linux", Arch: "amd64", Max: 2, Provider: v1alpha1.ProviderSpec{Local: &v1alpha1.LocalProvider{}}}}
	pool.Name = "p"
	if err := c.Create(t.Context(), pool); err != nil {
		t.Fatal(err)
	}
	s.KillAPI()
	if err := s.StartAPI(t.Context()); err != nil {
		t.Fatal(err)
	}
	var got v1alpha1.MachinePool
	if err := c.Get(t.Context(), client.ObjectKey{Name: "p"}, &got); err != nil || got.UID != pool.UID {
		t.Errorf("after the restart: %v, %v; want UID %s", got.UID, err, pool.UID)
	}
}
