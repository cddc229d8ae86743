//go:build linux

package deploy

import (
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"outrigger.dev/outrigger/test/apiserver"
)

// TestAPIServerTakesThem: each manifest is applied in earnest, CRDs first, so that
// also what refers to another object is looked at.
func TestAPIServerTakesThem(t *testing.T) {
	chart, err := helmed(t, nil)
	if err != nil {
		t.Fatal(err)
	}
	s := apiserver.Start(t)
	c, err := client.New(s.Config(), client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}); err != nil {
		t.Fatal(err)
	}
	for from, objects := range map[string]map[string]object{"kustomize": kustomized(t), "helm": chart} {
		for name, o := range objects {
			err := c.Apply(t.Context(), client.ApplyConfigurationFromUnstructured(o), client.FieldOwner(from), client.ForceOwnership)
			if err != nil {
				t.Errorf("%s: %s: %v", from, name, err)
			}
		}
	}
}

// TestTheControllersToken may write Secrets of claims, and no others.
func TestTheControllersToken(t *testing.T) {
	s := apiserver.Start(t)
	admin, err := client.New(s.Config(), client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, ns := range []string{namespace, "team"} {
		if err := admin.Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: ns}}); err != nil {
			t.Fatal(err)
		}
	}
	for name, o := range kustomized(t) {
		if err := admin.Apply(t.Context(), client.ApplyConfigurationFromUnstructured(o), client.FieldOwner("test"), client.ForceOwnership); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
	config := s.Config()
	config.Impersonate.UserName = "system:serviceaccount:" + namespace + ":outrigger-controller"
	c, err := client.New(config, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	secret := func(ns, name string) *corev1.Secret {
		return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: name}}
	}
	awaitRefusal(t, func() error { return c.Create(t.Context(), secret("team", "database"), client.DryRunAll) })
	mine := secret("team", "outrigger-claim")
	for what, err := range map[string]error{
		"create": c.Create(t.Context(), mine), "update": c.Update(t.Context(), mine), "delete": c.Delete(t.Context(), mine),
		"its own namespace": c.Create(t.Context(), secret(namespace, "machine-1")),
	} {
		if err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	var list corev1.SecretList
	if err := c.List(t.Context(), &list, client.InNamespace("team")); err == nil {
		t.Error("it may list the Secrets of others")
	}
}

// awaitRefusal waits until the policy works, which is a moment after it was made.
func awaitRefusal(t *testing.T, create func() error) {
	t.Helper()
	for end := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		err := create()
		if err != nil && strings.Contains(err.Error(), "begins with outrigger-") {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("a Secret of another name: %v", err)
		}
	}
}
