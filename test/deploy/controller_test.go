//go:build linux

package deploy

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"outrigger.dev/outrigger/api/v1alpha1"
	"outrigger.dev/outrigger/internal/admit"
	"outrigger.dev/outrigger/internal/admit/webhook"
	"outrigger.dev/outrigger/internal/control/manager"
	"outrigger.dev/outrigger/internal/control/pools"
	"outrigger.dev/outrigger/test/apiserver"
	"outrigger.dev/outrigger/test/cloud"
)

// TestTheControllerWithItsToken: the whole controller does its work with the
// permissions that the manifests give it, and is never refused anything.
func TestTheControllerWithItsToken(t *testing.T) {
	s := apiserver.Start(t)
	admin, err := client.New(s.Config(), client.Options{Scheme: s.Scheme()})
	must(t, err)
	for _, ns := range []string{namespace, "team"} {
		must(t, admin.Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: ns}}))
	}
	for name, o := range kustomized(t) {
		if err := admin.Apply(t.Context(), client.ApplyConfigurationFromUnstructured(o), client.FieldOwner("test"), client.ForceOwnership); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	address := l.Addr().String()
	l.Close()
	log := &refusals{t: t}
	hook, err := webhook.New(webhook.Options{
		Namespace: namespace, Address: address, URL: "https://" + address, Relay: admit.Config{RelayImage: "relay:test"}, Log: slog.New(slog.NewTextHandler(log, nil)),
	})
	must(t, err)
	machines := &cloud.Cloud{Dir: t.TempDir()}
	must(t, machines.Init())
	config := s.Config()
	config.Impersonate.UserName = "system:serviceaccount:" + namespace + ":outrigger-controller"
	ctx, cancel := context.WithCancel(t.Context())
	mgr, err := manager.New(ctx, config, manager.Options{
		Namespace: namespace, MetricsAddress: "0", ProbeAddress: "0", LeaderElect: true, Webhook: hook,
		Places: cloud.Places{Cloud: machines}, Readier: &cloud.Readier{}, Maker: &cloud.Maker{Cloud: machines}, Times: pools.Times{Herald: 20 * time.Millisecond},
		Log: slog.New(slog.NewTextHandler(log, nil)),
	})
	must(t, err)
	done := make(chan error, 1)
	go func() { done <- mgr.Start(ctx) }()
	defer func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("controller: %v", err)
		}
	}()
	must(t, admin.Create(t.Context(), &v1alpha1.MachinePool{ObjectMeta: metav1.ObjectMeta{Name: "linux"}, Spec: v1alpha1.MachinePoolSpec{
		OS: "linux", Arch: "amd64", Provider: v1alpha1.ProviderSpec{Local: &v1alpha1.LocalProvider{}}, Max: 2,
	}}))
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "team", Name: "work", Annotations: map[string]string{v1alpha1.AnnotationPool: "linux"}},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "main", Image: "busybox:1", Command: []string{"true"}}}},
	}
	eventually(t, "the webhook is asked", func() error {
		dry := pod.DeepCopy()
		if err := admin.Create(t.Context(), dry, client.DryRunAll); err != nil {
			return err
		}
		if dry.Labels[v1alpha1.LabelClaim] == "" {
			return fmt.Errorf("not yet")
		}
		return nil
	})
	must(t, admin.Create(t.Context(), pod))
	eventually(t, "the Pod has its machine", func() error {
		if err := admin.Get(t.Context(), client.ObjectKeyFromObject(pod), pod); err != nil {
			return err
		}
		if len(pod.Spec.SchedulingGates) > 0 {
			return fmt.Errorf("waits: %+v", pod.Status.Conditions)
		}
		return nil
	})
	must(t, admin.Delete(t.Context(), &admissionv1.MutatingWebhookConfiguration{ObjectMeta: metav1.ObjectMeta{Name: webhook.Configuration}}))
	eventually(t, "the configuration is back", func() error {
		return admin.Get(t.Context(), client.ObjectKey{Name: webhook.Configuration}, &admissionv1.MutatingWebhookConfiguration{})
	})
	must(t, admin.Delete(t.Context(), pod, client.GracePeriodSeconds(0)))
	eventually(t, "the claim is over", func() error {
		var claims v1alpha1.MachineClaimList
		if err := admin.List(t.Context(), &claims, client.InNamespace("team")); err != nil {
			return err
		}
		for _, c := range claims.Items {
			if c.Status.Phase != v1alpha1.ClaimReleased {
				return fmt.Errorf("%s is %s", c.Name, c.Status.Phase)
			}
		}
		return nil
	})
	must(t, admin.Delete(t.Context(), &v1alpha1.MachinePool{ObjectMeta: metav1.ObjectMeta{Name: "linux"}}))
	eventually(t, "the pool is gone", func() error {
		var list v1alpha1.MachinePoolList
		if err := admin.List(t.Context(), &list); err != nil || len(list.Items) > 0 {
			return fmt.Errorf("%d pools, %v", len(list.Items), err)
		}
		return nil
	})
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func eventually(t *testing.T, what string, fact func() error) {
	t.Helper()
	var err error
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if err = fact(); err == nil {
			return
		}
	}
	t.Fatalf("not within a minute: %s: %v", what, err)
}

// refusals reports each line of a log that speaks of a permission that is lacking.
type refusals struct{ t *testing.T }

func (r *refusals) Write(p []byte) (int, error) {
	line := strings.TrimSpace(string(p))
	if strings.Contains(line, "cannot") && strings.Contains(line, "forbidden") {
		r.t.Errorf("refused: %s", line)
	} else {
		r.t.Log(line)
	}
	return len(p), nil
}
