//go:build linux

package apiserver

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	clientscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"outrigger.dev/outrigger/api/v1alpha1"
	"outrigger.dev/outrigger/test/built"
)

// Scheme knows Kubernetes' own types and ours.
func (s *Server) Scheme() *runtime.Scheme {
	scheme := runtime.NewScheme()
	utilruntime.Must(clientscheme.AddToScheme(scheme))
	utilruntime.Must(v1alpha1.AddToScheme(scheme))
	return scheme
}

// installCRDs makes the API of deploy/kustomize/crds known, and waits until it is served.
func (s *Server) installCRDs(ctx context.Context) error {
	root, err := built.Checkout()
	if err != nil {
		return err
	}
	files, err := filepath.Glob(filepath.Join(root, "deploy", "kustomize", "crds", "outrigger.dev_*.yaml"))
	if err != nil || len(files) == 0 {
		return fmt.Errorf("no CRDs in %s: %w", root, err)
	}
	c, err := client.New(s.Config(), client.Options{Scheme: s.Scheme()})
	if err != nil {
		return err
	}
	for _, file := range files {
		if err := installCRD(ctx, c, file); err != nil {
			return fmt.Errorf("%s: %w", filepath.Base(file), err)
		}
	}
	return nil
}

func installCRD(ctx context.Context, c client.Client, file string) error {
	data, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	crd := &unstructured.Unstructured{}
	if err := yaml.Unmarshal(data, &crd.Object); err != nil {
		return err
	}
	return establish(ctx, c, crd)
}

// establish makes a CRD and waits until it is served.
func establish(ctx context.Context, c client.Client, crd *unstructured.Unstructured) error {
	if err := c.Create(ctx, crd); err != nil {
		return err
	}
	for {
		if err := c.Get(ctx, client.ObjectKeyFromObject(crd), crd); err != nil {
			return err
		}
		found, _, err := unstructured.NestedFieldNoCopy(crd.Object, "status", "conditions")
		if err != nil {
			return err
		}
		conditions, _ := found.([]any) // null at first
		for _, one := range conditions {
			if m, ok := one.(map[string]any); ok && m["type"] == "Established" && m["status"] == "True" {
				return nil
			}
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			return fmt.Errorf("not established: %w", context.Cause(ctx))
		}
	}
}

// newKey returns a private key in PEM.
func newKey() ([]byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}), nil
}
