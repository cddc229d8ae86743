package examples

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"
)

// A cluster is where the examples run.
type cluster struct {
	typed   kubernetes.Interface
	dynamic dynamic.Interface
	mapper  meta.RESTMapper
}

func connect(config *rest.Config) (*cluster, error) {
	config = rest.CopyConfig(config)
	config.QPS = -1 // many examples at once on one client
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
	return &cluster{typed: typed, dynamic: dyn, mapper: restmapper.NewDeferredDiscoveryRESTMapper(memory.NewMemCacheClient(disco))}, nil
}

func (c *cluster) list(ctx context.Context, namespace, kind string) ([]unstructured.Unstructured, error) {
	resource := schema.GroupVersionResource{Group: "tekton.dev", Version: "v1", Resource: map[string]string{"TaskRun": "taskruns", "PipelineRun": "pipelineruns"}[kind]}
	list, err := c.dynamic.Resource(resource).Namespace(namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, err
	}
	return list.Items, nil
}

// A side is one of the two ways in which an example runs, in a namespace of its own.
type side struct {
	cluster   *cluster
	namespace string
}

const (
	poll = 500 * time.Millisecond
	// setUp bounds what the control plane does for a new namespace.
	setUp = time.Minute
)

// start makes the namespace and creates the objects in it.
func (s *side) start(ctx context.Context, objects []*unstructured.Unstructured) error {
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: s.namespace}}
	if _, err := s.cluster.typed.CoreV1().Namespaces().Create(ctx, namespace, metav1.CreateOptions{}); err != nil {
		return err
	}
	err := wait.PollUntilContextTimeout(ctx, poll, setUp, true, func(ctx context.Context) (bool, error) {
		_, err := s.cluster.typed.CoreV1().ServiceAccounts(s.namespace).Get(ctx, "default", metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return false, nil
		}
		return err == nil, err
	})
	if err != nil {
		return fmt.Errorf("no service account in namespace %s: %w", s.namespace, err)
	}
	for _, o := range objects {
		gvk := o.GroupVersionKind()
		mapping, err := s.cluster.mapper.RESTMapping(gvk.GroupKind(), gvk.Version)
		if err != nil {
			return fmt.Errorf("%s %s: %w", o.GetKind(), o.GetName(), err)
		}
		resource := dynamic.ResourceInterface(s.cluster.dynamic.Resource(mapping.Resource))
		if mapping.Scope.Name() == meta.RESTScopeNameNamespace {
			resource = s.cluster.dynamic.Resource(mapping.Resource).Namespace(s.namespace)
		}
		if _, err := resource.Create(ctx, o, metav1.CreateOptions{}); err != nil {
			return fmt.Errorf("%s %s: %w", o.GetKind(), o.GetName(), err)
		}
	}
	return nil
}

// finish waits until all runs are over, those that Tekton made of Pipelines too.
func (s *side) finish(ctx context.Context, limit time.Duration) error {
	var open string
	err := wait.PollUntilContextTimeout(ctx, poll, limit, true, func(ctx context.Context) (bool, error) {
		open = ""
		for _, kind := range []string{"PipelineRun", "TaskRun"} {
			list, err := s.cluster.list(ctx, s.namespace, kind)
			if err != nil {
				return false, err
			}
			for _, run := range list {
				if why := unfinished(run); why != "" {
					open += fmt.Sprintf(" %s %s (%s)", kind, run.GetName(), why)
				}
			}
		}
		return open == "", nil
	})
	if err != nil {
		return fmt.Errorf("after %v still open:%s: %w", limit, open, err)
	}
	return nil
}

// unfinished says why a run is not over; "": it is.
func unfinished(run unstructured.Unstructured) string {
	conditions, _, err := unstructured.NestedSlice(run.Object, "status", "conditions")
	if err != nil {
		return err.Error()
	}
	for _, c := range conditions {
		condition, ok := c.(map[string]any)
		if ok && condition["type"] == "Succeeded" {
			if condition["status"] != "Unknown" {
				return ""
			}
			return fmt.Sprintf("%v: %v", condition["reason"], condition["message"])
		}
	}
	return "no condition yet"
}

// stop deletes the namespace and does not wait for that: the next example has its own.
func (s *side) stop(ctx context.Context) error {
	now := int64(0)
	err := s.cluster.typed.CoreV1().Namespaces().Delete(ctx, s.namespace, metav1.DeleteOptions{GracePeriodSeconds: &now})
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}
