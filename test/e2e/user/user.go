// Package user does with a cluster what its users do: applies YAML, waits for
// runs and Pods, reads logs, calls kubectl. Tekton's objects are unstructured, so
// that nothing of Tekton is linked.
package user

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"
	"k8s.io/client-go/tools/clientcmd"
)

// A Cluster is reached with all rights.
type Cluster struct {
	Kubeconfig string
	Kubectl    string // the program
	Typed      kubernetes.Interface

	dynamic dynamic.Interface
	mapper  meta.ResettableRESTMapper
}

// Connect reads the kubeconfig file; kubectl is the program to call.
func Connect(kubeconfig, kubectl string) (*Cluster, error) {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return nil, err
	}
	config = rest.CopyConfig(config)
	config.QPS = -1 // many tests at once on one client
	typed, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	dyn, err := dynamic.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	disco, err := discovery.NewDiscoveryClientForConfig(config)
	if err != nil {
		return nil, err
	}
	return &Cluster{
		Kubeconfig: kubeconfig, Kubectl: kubectl, Typed: typed, dynamic: dyn,
		mapper: restmapper.NewDeferredDiscoveryRESTMapper(memory.NewMemCacheClient(disco)),
	}, nil
}

// Parse reads the documents of a YAML file.
func Parse(data []byte) ([]*unstructured.Unstructured, error) {
	var objects []*unstructured.Unstructured
	decoder := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(data), 4096)
	for {
		var content map[string]any
		if err := decoder.Decode(&content); errors.Is(err, io.EOF) {
			return objects, nil
		} else if err != nil {
			return nil, err
		}
		if len(content) > 0 {
			objects = append(objects, &unstructured.Unstructured{Object: content})
		}
	}
}

// poll is how often a fact is asked for that somebody waits for.
const poll = 300 * time.Millisecond

// Await asks until ok, at most for limit. open says what is still missing.
func Await(ctx context.Context, limit time.Duration, ask func(context.Context) (open string, err error)) error {
	var open string
	err := wait.PollUntilContextTimeout(ctx, poll, limit, true, func(ctx context.Context) (bool, error) {
		var err error
		open, err = ask(ctx)
		return open == "", err
	})
	if err != nil && open != "" {
		return fmt.Errorf("after %v: %s: %w", limit, open, err)
	}
	return err
}

// Resource is the client for a kind like "Pod", "tekton.dev/TaskRun" or
// "outrigger.dev/Machine"; namespace is ignored for kinds of the cluster.
func (c *Cluster) Resource(kind, namespace string) (dynamic.ResourceInterface, error) {
	group, name, found := strings.Cut(kind, "/")
	if !found {
		group, name = "", kind
	}
	return c.resource(schema.GroupKind{Group: group, Kind: name}, namespace)
}

func (c *Cluster) resource(kind schema.GroupKind, namespace string, versions ...string) (dynamic.ResourceInterface, error) {
	mapping, err := c.mapper.RESTMapping(kind, versions...)
	if meta.IsNoMatchError(err) { // its CRD may be new
		c.mapper.Reset()
		mapping, err = c.mapper.RESTMapping(kind, versions...)
	}
	if err != nil {
		return nil, err
	}
	if mapping.Scope.Name() == meta.RESTScopeNameNamespace {
		return c.dynamic.Resource(mapping.Resource).Namespace(namespace), nil
	}
	return c.dynamic.Resource(mapping.Resource), nil
}

// Get returns one object.
func (c *Cluster) Get(ctx context.Context, kind, namespace, name string) (*unstructured.Unstructured, error) {
	resource, err := c.Resource(kind, namespace)
	if err != nil {
		return nil, err
	}
	return resource.Get(ctx, name, metav1.GetOptions{})
}

// List returns all objects of a kind, of all namespaces if namespace is "".
func (c *Cluster) List(ctx context.Context, kind, namespace string) ([]unstructured.Unstructured, error) {
	resource, err := c.Resource(kind, namespace)
	if err != nil {
		return nil, err
	}
	list, err := resource.List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, err
	}
	return list.Items, nil
}

// Command is kubectl with args, to be run.
func (c *Cluster) Command(ctx context.Context, args ...string) *exec.Cmd {
	return exec.CommandContext(ctx, c.Kubectl, append([]string{"--kubeconfig", c.Kubeconfig}, args...)...)
}
