//go:build linux

package manager_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"outrigger.dev/outrigger/api/v1alpha1"
	"outrigger.dev/outrigger/internal/control/manager"
	"outrigger.dev/outrigger/test/apiserver"
)

// A log is what the controller says, for who reads it meanwhile.
type log struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// TestTheController runs the program as somebody does outside of the cluster: it becomes ready, rewrites a
// marked Pod, and ends in order when it is told to.
func TestTheController(t *testing.T) {
	server := apiserver.Start(t)
	c, err := client.New(server.Config(), client.Options{Scheme: server.Scheme()})
	if err != nil {
		t.Fatal(err)
	}
	for _, ns := range []string{"outrigger-system", "team"} {
		if err := c.Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: ns}}); err != nil {
			t.Fatal(err)
		}
	}
	webhook, metrics, health := freeAddress(t), freeAddress(t), freeAddress(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	said := &log{}
	code := make(chan int, 1)
	go func() {
		code <- manager.Run(ctx, []string{
			"--kubeconfig", server.Kubeconfig(), "--relay-image", "relay:test", "--agents", t.TempDir(), "--state-dir", filepath.Join(t.TempDir(), "state"),
			"--webhook-address", webhook, "--webhook-url", "https://" + webhook, "--metrics-bind-address", metrics, "--health-probe-bind-address", health,
			"--leader-elect", "--log-format", "json", "--log-level", "debug",
		}, said, said)
	}()
	eventually := func(what string, fact func() error) {
		t.Helper()
		var err error
		for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
			if err = fact(); err == nil {
				return
			}
		}
		t.Fatalf("not within a minute: %s: %v\n%s", what, err, said)
	}
	get := func(url string) (string, error) {
		resp, err := http.Get(url)
		if err != nil {
			return "", err
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		if err == nil && resp.StatusCode != http.StatusOK {
			err = fmt.Errorf("%s: %s", resp.Status, b)
		}
		return string(b), err
	}
	eventually("ready", func() error { _, err := get("http://" + health + "/readyz"); return err })
	if _, err := get("http://" + health + "/healthz"); err != nil {
		t.Error(err)
	}
	pool := &v1alpha1.MachinePool{ObjectMeta: metav1.ObjectMeta{Name: "macs"}, Spec: v1alpha1.MachinePoolSpec{
		OS: "darwin", Arch: "arm64", Provider: v1alpha1.ProviderSpec{Local: &v1alpha1.LocalProvider{}}, Warm: new(int32(0)), Max: 0,
	}}
	if err := c.Create(t.Context(), pool); err != nil {
		t.Fatal(err)
	}
	eventually("a marked Pod is rewritten", func() error {
		pod := &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Namespace: "team", GenerateName: "p-", Annotations: map[string]string{v1alpha1.AnnotationPool: "macs"}},
			Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "main", Image: "busybox", Command: []string{"true"}}}},
		}
		if err := c.Create(t.Context(), pod, client.DryRunAll); err != nil {
			return err
		}
		if pod.Spec.Containers[0].Image != "relay:test" {
			return fmt.Errorf("image %s", pod.Spec.Containers[0].Image)
		}
		return nil
	})
	var leases corev1.Secret
	if err := c.Get(t.Context(), client.ObjectKey{Namespace: "outrigger-system", Name: "outrigger-leases"}, &leases); err != nil || len(leases.Data["secret"]) != 32 {
		t.Errorf("what slots are taken with: %d bytes, %v", len(leases.Data["secret"]), err)
	}
	if text, err := get("http://" + metrics + "/metrics"); err != nil || !strings.Contains(text, "controller_runtime_webhook_requests_total") {
		t.Errorf("metrics: %v", err)
	}
	cancel()
	select {
	case got := <-code:
		if got != 0 {
			t.Errorf("code %d\n%s", got, said)
		}
	case <-time.After(time.Minute):
		t.Fatalf("does not end\n%s", said)
	}
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
