package kube

import (
	"context"
	"encoding/json"
	"io"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"outrigger.dev/outrigger/internal/fault"
)

// core is the path of a namespace's objects of Kubernetes' own core.
func core(namespace, resource string) []string {
	return []string{"/api/v1/namespaces", namespace, resource}
}

// read gets one object, or a list, at a path.
func (c *Client) read(ctx context.Context, what string, into any, params map[string]string, path ...string) error {
	r := c.rest.Get().AbsPath(path...)
	for k, v := range params {
		r = r.Param(k, v)
	}
	raw, err := r.DoRaw(ctx)
	if apierrors.IsNotFound(err) { // of what every cluster has: not the kind is missing, but the object
		return fault.New(fault.Config, "cluster %s: %s: is not there", c.host, what).WithRemedy("Make it, or name another.")
	}
	if err != nil {
		return c.fault(what, err)
	}
	if err := json.Unmarshal(raw, into); err != nil {
		return fault.New(fault.Protocol, "cluster %s: %s: %w", c.host, what, err)
	}
	return nil
}

// create makes an object, and reads back what became of it.
func (c *Client) create(ctx context.Context, what string, object any, path ...string) error {
	body, err := json.Marshal(object)
	if err != nil {
		return fault.New(fault.Internal, "%s: %w", what, err)
	}
	raw, err := c.rest.Post().AbsPath(path...).SetHeader("Content-Type", "application/json").Body(body).DoRaw(ctx)
	if err != nil {
		return c.fault("make "+what, err)
	}
	if err := json.Unmarshal(raw, object); err != nil {
		return fault.New(fault.Protocol, "cluster %s: %s: %w", c.host, what, err)
	}
	return nil
}

// CreatePod makes a Pod, and puts into it what the API server has added.
func (c *Client) CreatePod(ctx context.Context, pod *corev1.Pod) error {
	return c.create(ctx, "Pod "+pod.Namespace+"/"+pod.Name, pod, core(pod.Namespace, "pods")...)
}

// CreateSecret makes a Secret.
func (c *Client) CreateSecret(ctx context.Context, s *corev1.Secret) error {
	return c.create(ctx, "Secret "+s.Namespace+"/"+s.Name, s, core(s.Namespace, "secrets")...)
}

// Pod returns one Pod; nil if there is none of that name.
func (c *Client) Pod(ctx context.Context, namespace, name string) (*corev1.Pod, error) {
	var pod corev1.Pod
	raw, err := c.rest.Get().AbsPath(core(namespace, "pods")...).Suffix(name).DoRaw(ctx)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err == nil {
		err = json.Unmarshal(raw, &pod)
	}
	return &pod, c.fault("Pod "+namespace+"/"+name, err)
}

// Pods returns those of a namespace with these labels.
func (c *Client) Pods(ctx context.Context, namespace, labels string) ([]corev1.Pod, error) {
	var list corev1.PodList
	err := c.read(ctx, "Pods", &list, map[string]string{"labelSelector": labels}, core(namespace, "pods")...)
	return list.Items, err
}

// DeletePod deletes a Pod at once. One that is gone is no error; uid names the only one that is meant.
func (c *Client) DeletePod(ctx context.Context, namespace, name string, uid types.UID) error {
	options := metav1.DeleteOptions{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "DeleteOptions"}, GracePeriodSeconds: new(int64)}
	if uid != "" {
		options.Preconditions = &metav1.Preconditions{UID: &uid}
	}
	return c.remove(ctx, "Pod", namespace, "pods", name, options)
}

// DeleteSecret deletes a Secret. One that is gone is no error.
func (c *Client) DeleteSecret(ctx context.Context, namespace, name string) error {
	options := metav1.DeleteOptions{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "DeleteOptions"}}
	return c.remove(ctx, "Secret", namespace, "secrets", name, options)
}

func (c *Client) remove(ctx context.Context, kind, namespace, resource, name string, options metav1.DeleteOptions) error {
	what := kind + " " + namespace + "/" + name
	body, err := json.Marshal(options)
	if err != nil {
		return fault.New(fault.Internal, "%s: %w", what, err)
	}
	err = c.rest.Delete().AbsPath(core(namespace, resource)...).Suffix(name).SetHeader("Content-Type", "application/json").Body(body).Do(ctx).Error()
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return nil
	}
	return c.fault("delete "+what, err)
}

// Log follows what a Pod's container writes, to its end. The caller closes it.
func (c *Client) Log(ctx context.Context, namespace, name, container string) (io.ReadCloser, error) {
	stream, err := c.rest.Get().AbsPath(core(namespace, "pods")...).Suffix(name, "log").
		Param("container", container).Param("follow", "true").Stream(ctx)
	return stream, c.fault("log of Pod "+namespace+"/"+name, err)
}

// A Deployment is what commands look at of one. Kubernetes' own type would link all of its group.
type Deployment struct {
	metav1.ObjectMeta `json:"metadata"`

	Spec struct {
		Template corev1.PodTemplateSpec `json:"template"`
	} `json:"spec"`
}

// Deployments returns those of a namespace with these labels.
func (c *Client) Deployments(ctx context.Context, namespace, labels string) ([]Deployment, error) {
	var list struct{ Items []Deployment }
	err := c.read(ctx, "Deployments", &list, map[string]string{"labelSelector": labels}, "/apis/apps/v1/namespaces", namespace, "deployments")
	return list.Items, err
}

// A Policy is what commands look at of a NetworkPolicy.
type Policy struct {
	metav1.ObjectMeta `json:"metadata"`

	Spec struct {
		PodSelector metav1.LabelSelector `json:"podSelector"`
		PolicyTypes []string             `json:"policyTypes"` // Ingress, Egress
	} `json:"spec"`
}

// Policies returns the NetworkPolicies of a namespace.
func (c *Client) Policies(ctx context.Context, namespace string) ([]Policy, error) {
	var list struct{ Items []Policy }
	err := c.read(ctx, "NetworkPolicies", &list, nil, "/apis/networking.k8s.io/v1/namespaces", namespace, "networkpolicies")
	return list.Items, err
}

// ConfigMap returns the content of a ConfigMap.
func (c *Client) ConfigMap(ctx context.Context, namespace, name string) (map[string]string, error) {
	var m corev1.ConfigMap
	err := c.read(ctx, "ConfigMap "+namespace+"/"+name, &m, nil, append(core(namespace, "configmaps"), name)...)
	return m.Data, err
}

// HasDaemonSet tells whether there is one of that name.
func (c *Client) HasDaemonSet(ctx context.Context, namespace, name string) bool {
	var d struct{}
	return c.read(ctx, "DaemonSet "+namespace+"/"+name, &d, nil, "/apis/apps/v1/namespaces", namespace, "daemonsets", name) == nil
}

// Version is that of Kubernetes, as the distribution writes it: "v1.34.1-gke.3355000".
func (c *Client) Version(ctx context.Context) (string, error) {
	var v struct {
		GitVersion string `json:"gitVersion"`
	}
	err := c.read(ctx, "version", &v, nil, "/version")
	return v.GitVersion, err
}
