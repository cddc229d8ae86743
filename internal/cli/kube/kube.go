// Package kube is the cluster that a command asks: its flags, the connection and
// what of the API commands need. It is as small as the answer allows: the clients that
// know every type of Kubernetes cost each call of the program milliseconds,
// also the calls that ask no cluster.
package kube

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"syscall"
	"time"

	"github.com/spf13/pflag"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"outrigger.dev/outrigger/api/v1alpha1"
	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/version"
)

// Flags say which cluster.
type Flags struct {
	Kubeconfig string
	Context    string
}

// Add adds the flags to fs.
func (f *Flags) Add(fs *pflag.FlagSet) {
	fs.StringVar(&f.Kubeconfig, "kubeconfig", "", "kubeconfig `file` (default: $KUBECONFIG, else ~/.kube/config, else the Pod's service account)")
	fs.StringVar(&f.Context, "context", "", "`name` of the kubeconfig's context (default: its current one)")
}

// A Client asks one cluster.
type Client struct {
	rest *rest.RESTClient
	host string
}

// Open reads the kubeconfig. No connection is made yet.
func (f *Flags) Open() (*Client, error) {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = f.Kubeconfig
	config, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, &clientcmd.ConfigOverrides{CurrentContext: f.Context}).ClientConfig()
	if err != nil {
		return nil, fault.New(fault.Config, "cluster: %w", err).
			WithRemedy("Say which cluster with --kubeconfig FILE, --context NAME or $KUBECONFIG.")
	}
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		return nil, err
	}
	config.APIPath = "/apis"
	config.GroupVersion = &v1alpha1.GroupVersion
	config.NegotiatedSerializer = serializer.NewCodecFactory(scheme).WithoutConversion()
	config.UserAgent = "outrigger/" + version.Version
	client, err := rest.RESTClientFor(config)
	if err != nil {
		return nil, fault.New(fault.Config, "cluster: %w", err)
	}
	return &Client{rest: client, host: config.Host}, nil
}

// Pools returns all pools.
func (c *Client) Pools(ctx context.Context) ([]v1alpha1.MachinePool, error) {
	var list v1alpha1.MachinePoolList
	err := c.rest.Get().Resource("machinepools").Do(ctx).Into(&list)
	return list.Items, c.fault("pools", err)
}

// Pool returns one pool.
func (c *Client) Pool(ctx context.Context, name string) (*v1alpha1.MachinePool, error) {
	var p v1alpha1.MachinePool
	err := c.rest.Get().Resource("machinepools").Name(name).Do(ctx).Into(&p)
	if apierrors.IsNotFound(err) && !noSuchAPI(err) {
		return nil, fault.New(fault.UnknownPool, "pool %q: the cluster has none of that name", name)
	}
	return &p, c.fault("pool "+name, err)
}

// Machines returns the machines of a pool.
func (c *Client) Machines(ctx context.Context, pool string) ([]v1alpha1.Machine, error) {
	var list v1alpha1.MachineList
	err := c.rest.Get().Resource("machines").Param("labelSelector", v1alpha1.LabelPool+"="+pool).Do(ctx).Into(&list)
	return list.Items, c.fault("machines", err)
}

// Claims returns the claims on a pool, of all namespaces.
func (c *Client) Claims(ctx context.Context, pool string) ([]v1alpha1.MachineClaim, error) {
	var list v1alpha1.MachineClaimList
	if err := c.rest.Get().Resource("machineclaims").Do(ctx).Into(&list); err != nil {
		return nil, c.fault("claims", err)
	}
	return slices.DeleteFunc(list.Items, func(m v1alpha1.MachineClaim) bool { return m.Spec.Pool != pool }), nil
}

// Events returns the events about an object that belongs to no namespace, as they came.
func (c *Client) Events(ctx context.Context, kind, name string) ([]corev1.Event, error) {
	raw, err := c.rest.Get().AbsPath("/api/v1/namespaces", metav1.NamespaceDefault, "events").
		Param("fieldSelector", "involvedObject.kind="+kind+",involvedObject.name="+name).DoRaw(ctx)
	if err != nil {
		return nil, c.fault("events", err)
	}
	var list corev1.EventList
	if err := json.Unmarshal(raw, &list); err != nil {
		return nil, fault.New(fault.Protocol, "events: %w", err)
	}
	slices.SortStableFunc(list.Items, func(a, b corev1.Event) int { return When(a).Compare(When(b)) })
	return list.Items, nil
}

// When is the last time that an event happened.
func When(e corev1.Event) time.Time {
	last := e.CreationTimestamp.Time
	if e.Series != nil && e.Series.LastObservedTime.After(last) {
		last = e.Series.LastObservedTime.Time
	}
	if e.LastTimestamp.After(last) {
		last = e.LastTimestamp.Time
	}
	return last
}

// fault says what the API server's answer means to who called.
func (c *Client) fault(what string, err error) error {
	switch {
	case err == nil:
		return nil
	case apierrors.IsUnauthorized(err), apierrors.IsForbidden(err):
		return fault.New(fault.AuthRefused, "cluster %s: %s: %w", c.host, what, err).
			WithRemedy("Ask for the role outrigger-view, or choose another user with --context.")
	case noSuchAPI(err):
		return fault.New(fault.Config, "cluster %s: has no Outrigger: no %s in the API", c.host, v1alpha1.GroupVersion).
			WithRemedy("Install it (docs/howto/install.md), or choose another cluster with --context.")
	case passing(err):
		return fault.New(fault.Unreachable, "cluster %s: %w", c.host, err).
			WithRemedy("Check the kubeconfig's server and the network on the way.")
	}
	return fault.New(fault.Protocol, "cluster %s: %s: %w", c.host, what, err)
}

// passing tells an error that says nothing of the request: the connection broke, or the API server
// cannot answer now. Code 500 is among them: that is what "etcdserver: leader changed" and "request
// timed out" come as.
func passing(err error) bool {
	var status apierrors.APIStatus
	if errors.As(err, &status) {
		code := status.Status().Code
		return code >= http.StatusInternalServerError || code == http.StatusTooManyRequests || code == http.StatusRequestTimeout
	}
	return errors.As(err, new(*url.Error)) || errors.As(err, new(net.Error)) ||
		errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET)
}

// noSuchAPI tells "no such kind of object" from "no such object", which have the same code.
func noSuchAPI(err error) bool {
	var status apierrors.APIStatus
	return apierrors.IsNotFound(err) && errors.As(err, &status) && (status.Status().Details == nil || status.Status().Details.Name == "")
}
