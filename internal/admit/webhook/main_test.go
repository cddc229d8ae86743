//go:build linux

package webhook_test

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-logr/logr"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/config"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"outrigger.dev/outrigger/api/v1alpha1"
	"outrigger.dev/outrigger/internal/admit"
	"outrigger.dev/outrigger/internal/admit/webhook"
	"outrigger.dev/outrigger/test/apiserver"
	"outrigger.dev/outrigger/test/controller"
)

var server *apiserver.Server

func TestMain(m *testing.M) {
	quiet := logr.FromSlogHandler(slog.DiscardHandler) // what is ours goes to the test's log
	ctrl.SetLogger(quiet)
	klog.SetLogger(quiet)
	apiserver.Main(m, &server)
}

const system = "outrigger-system"

// A world is an API server with Outrigger's webhook. Its configuration is the
// whole server's, so the tests of a package come one after the other.
type world struct {
	*testing.T
	client.Client
	space string // a namespace of the test's own
}

var worlds atomic.Int64

func newWorld(t *testing.T) *world {
	t.Helper()
	c, err := client.New(server.Config(), client.Options{Scheme: server.Scheme()})
	if err != nil {
		t.Fatal(err)
	}
	w := &world{T: t, Client: c, space: fmt.Sprintf("space-%d", worlds.Add(1))}
	w.namespace(w.space, nil)
	if err := w.Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: system}}); err != nil && !apierrors.IsAlreadyExists(err) {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx := context.WithoutCancel(t.Context())
		for _, o := range []client.Object{
			&admissionv1.MutatingWebhookConfiguration{ObjectMeta: metav1.ObjectMeta{Name: webhook.Configuration}},
			&admissionv1.ValidatingAdmissionPolicyBinding{ObjectMeta: metav1.ObjectMeta{Name: webhook.Policy}},
			&admissionv1.ValidatingAdmissionPolicy{ObjectMeta: metav1.ObjectMeta{Name: webhook.Policy}},
			&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: system, Name: webhook.Secret}},
		} {
			if err := client.IgnoreNotFound(w.Delete(ctx, o)); err != nil {
				t.Error(err)
			}
		}
		if err := w.DeleteAllOf(ctx, &v1alpha1.MachinePool{}); err != nil {
			t.Error(err)
		}
	})
	return w
}

func (w *world) must(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

func (w *world) namespace(name string, labels map[string]string) {
	w.Helper()
	w.must(w.Create(w.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels}}))
}

func (w *world) pool(name, os, arch string, change func(*v1alpha1.MachinePool)) {
	w.Helper()
	p := &v1alpha1.MachinePool{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: v1alpha1.MachinePoolSpec{
		OS: os, Arch: arch, Provider: v1alpha1.ProviderSpec{Local: &v1alpha1.LocalProvider{}}, Max: 1,
	}}
	if change != nil {
		change(p)
	}
	w.must(w.Create(w.Context(), p))
}

// A replica is one process of the controller, as far as the webhook is concerned.
type replica struct {
	hook *webhook.Webhook
	stop func()
}

// replica runs one until the test ends or stop is called. The API server reaches it, or
// a replica that runs already, at address.
func (w *world) replica(address, url string, times webhook.Times) *replica {
	w.Helper()
	return w.replicaOf(webhook.Options{Address: address, URL: url, Times: times})
}

func (w *world) replicaOf(o webhook.Options) *replica {
	w.Helper()
	address := o.Address
	o.Namespace, o.Relay, o.Log = system, admit.Config{RelayImage: "relay:test"}, controller.Log(w, slog.LevelDebug)
	hook, err := webhook.New(o)
	w.must(err)
	mgr, err := ctrl.NewManager(server.Config(), ctrl.Options{
		Scheme: server.Scheme(), Metrics: metricsserver.Options{BindAddress: "0"}, HealthProbeBindAddress: "0",
		WebhookServer: hook.Server(), Cache: cache.Options{ByObject: webhook.Caches(system)},
		Client:         client.Options{Cache: &client.CacheOptions{DisableFor: []client.Object{&corev1.Secret{}}}},
		Controller:     config.Controller{SkipNameValidation: new(true)},
		LeaderElection: true, LeaderElectionID: "webhook-test", LeaderElectionNamespace: system, LeaderElectionReleaseOnCancel: true,
		LeaseDuration: new(6 * time.Second), RenewDeadline: new(4 * time.Second), RetryPeriod: new(100 * time.Millisecond),
	})
	w.must(err)
	ctx, cancel := context.WithCancel(context.WithoutCancel(w.Context()))
	w.must(hook.Setup(ctx, mgr))
	done := make(chan error, 1)
	go func() { done <- mgr.Start(ctx) }()
	r := &replica{hook: hook}
	stopped := false
	r.stop = func() {
		if !stopped {
			stopped = true
			cancel()
			if err := <-done; err != nil {
				w.Errorf("replica at %s: %v", address, err)
			}
		}
	}
	w.Cleanup(r.stop)
	return r
}

// start runs one replica and waits until the API server asks it.
func (w *world) start() (r *replica, address string) {
	w.Helper()
	address = freeAddress(w.T)
	r = w.replica(address, "https://"+address, webhook.Times{})
	w.asks()
	return r, address
}

// asks waits until the API server asks the webhook about marked Pods.
func (w *world) asks() {
	w.Helper()
	w.eventually("the API server asks", func() error {
		err := w.Create(w.Context(), pod(w.space, "probe", map[string]string{v1alpha1.AnnotationPool: "no-such-pool"}), client.DryRunAll)
		if err == nil {
			return fmt.Errorf("not asked")
		}
		if !strings.Contains(err.Error(), "there is no pool") {
			return err
		}
		return nil
	})
}

func (r *replica) ready() error {
	req, err := http.NewRequest(http.MethodGet, "/readyz", nil)
	if err != nil {
		return err
	}
	return r.hook.Ready(req)
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// eventually waits for a fact.
func (w *world) eventually(what string, fact func() error) {
	w.Helper()
	var err error
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if err = fact(); err == nil {
			return
		}
	}
	w.Fatalf("not within a minute: %s: %v", what, err)
}

// pod is one with a command.
func pod(ns, name string, annotations map[string]string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: name, Annotations: annotations},
		Spec: corev1.PodSpec{Containers: []corev1.Container{{
			Name: "main", Image: "busybox:1", Command: []string{"sh", "-c", "make test"}, Env: []corev1.EnvVar{{Name: "A", Value: "b"}},
		}}},
	}
}

func metaLen(list client.ObjectList) int { return apimeta.LenList(list) }
